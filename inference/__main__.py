"""`python -m inference` is `seclude-worker`."""

from inference.main import main

raise SystemExit(main())
