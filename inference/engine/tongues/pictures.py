"""The little pictures and signs that answer for words in every tongue."""

from typing import Final

from inference.engine.tongues.phrasebook import Tongue

TONGUE: Final = Tongue(
    code="zxx",  # BCP 47 for "no linguistic content"
    common="",
    numbers="",
    agreement="+1, ☑, ✅, ✔, 👌, 👍, 💪, 🙌, 🙋",
    greeting="👋, 🫂",
    thanks="🙏",
    laughter="😁, 😂, 😄, 😅, 😆, 😹, 🤣",
    filler="""
        ☀, ☺, ♥, ✨, ❄, ❤, 🌹, 🎂, 🎈, 🎉, 👀, 👏, 💀, 💕, 💙, 💜, 💪, 🔥, 😀, 😃, 😇, 😉, 😊, 😋, 😌, 😍, 😎,
        😏, 😐, 😑, 😒, 😓, 😔, 😘, 😜, 😝, 😞, 😡, 😢, 😤, 😩, 😫, 😬, 😭, 😮, 😱, 😳, 😴, 🙁, 🙂, 🙃, 🙄, 🙈, 🙉,
        🙊, 🤔, 🤗, 🤞, 🤢, 🤤, 🤦, 🤨, 🤩, 🤪, 🤫, 🤭, 🤮, 🤯, 🤲, 🤷, 🥰, 🥱, 🥲, 🥳, 🥴, 🥹, 🥺, 🫠, 🫡, 🫢, 🫣,
        🫶
    """,
)
