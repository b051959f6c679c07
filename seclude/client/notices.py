"""The words that WhatsApp itself puts into an export: omitted media, deleted messages, edits, notices.

They are quoted from the apps in English, Spanish, Portuguese, German, French, Italian, Turkish, Hindi and Dutch. On
iOS the app marks its own words with U+200E. A person who types them looks like the app, and is counted so.
"""

# ruff: noqa: RUF001 - the words stand in their own letters

import re
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["text", "media", "deleted", "system"]

SPACE: Final = "[ \u00a0\u2009\u202f]"
MARK: Final = "[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"  # directions and isolates: invisible
APP_MARK: Final = "\u200e"

_MAX_LINE: Final = 512  # characters of a line by the app: a file name has at most 255, the words around it fewer
_MARKS: Final = re.compile(f"{MARK}+")


def _phrases(table: str) -> tuple[str, ...]:
    return tuple(phrase.strip().casefold() for phrase in table.replace("\n", "|").split("|"))


_DOCUMENT: Final = _phrases(
    """document omitted|documento omitido|documento não revelado|dokument weggelassen|document manquant|document omis
    documento omesso|belge dahil edilmedi|डॉक्यूमेंट छोड़ा गया|document weggelaten"""
)
_MEDIA: Final = _phrases(
    """<media omitted>|<view once voice message omitted>|<multimedia omitido>|<archivo omitido>|<mídia oculta>
    <arquivo de mídia oculto>|<mídia omitida>|<ficheiro não revelado>|<medien ausgeschlossen>|<medien weggelassen>
    <médias omis>|<fichier omis>|<media omessi>|<media omesso>|<medya dahil edilmedi>|<medya atlanmış>
    <मीडिया के बिना>|<media weggelaten>
    image omitted|video omitted|video note omitted|audio omitted|sticker omitted|GIF omitted|contact card omitted
    imagen omitida|video omitido|vídeo omitido|audio omitido|sticker omitido|GIF omitido|tarjeta de contacto omitida
    imagem ocultada|imagem omitida|vídeo ocultado|áudio ocultado|áudio omitido|figurinha omitida|GIF omitida
    cartão do contato omitido|imagem não revelada|vídeo não revelado|ficheiro de áudio não revelado
    sticker não revelado|GIF não revelada|contacto não revelado
    bild weggelassen|video weggelassen|audio weggelassen|sticker weggelassen|GIF weggelassen|kontaktkarte ausgelassen
    image absente|vidéo absente|audio omis|sticker omis|GIF retiré|fiche contact manquante
    immagine omessa|video omesso|audio omesso|sticker non incluso|GIF esclusa|scheda contatto omessa
    görüntü dahil edilmedi|video dahil edilmedi|ses dahil edilmedi|çıkartma dahil edilmedi|GIF dahil edilmedi
    kişi kartı dahil edilmedi
    फ़ोटो हटाई गई|वीडियो छोड़ा गया|ऑडियो हटाई गयी|स्टिकर छोड़ा गया|GIF छोड़ा गया|कॉन्टैक्ट कार्ड छोड़ा गया
    afbeelding weggelaten|video weggelaten|audio weggelaten|sticker weggelaten|GIF weggelaten"""
)
_DELETED: Final = _phrases(
    """this message was deleted|you deleted this message|this message was deleted by an admin
    you deleted this message as admin|se eliminó este mensaje|eliminaste este mensaje|este mensaje fue eliminado
    mensagem apagada|esta mensagem foi apagada|você apagou esta mensagem|apagou esta mensagem
    diese nachricht wurde gelöscht|du hast diese nachricht gelöscht|ce message a été supprimé
    vous avez supprimé ce message|questo messaggio è stato eliminato|hai eliminato questo messaggio
    bu mesaj silindi|bu mesajı sildiniz|यह मैसेज डिलीट कर दिया गया है|आपने यह मैसेज डिलीट किया
    dit bericht is verwijderd|u hebt dit bericht verwijderd"""
)
_EDITED: Final = _phrases(
    """this message was edited|se editó este mensaje|mensagem editada|esta mensagem foi editada
    diese nachricht wurde bearbeitet|ce message a été modifié|questo messaggio è stato modificato
    bu mesaj düzenlendi|dit bericht is bewerkt"""
)
# Other notices have no sender or a U+200E; these also stand, without it, behind the other person's name.
_NOTICE_STARTS: Final = _phrases(
    """messages and calls are end-to-end encrypted|waiting for this message. this may take a while
    los mensajes y las llamadas están cifrados de extremo|as mensagens e chamadas são encriptadas
    as mensagens e as chamadas são protegidas com|as mensagens e ligações são protegidas com
    as mensagens e as ligações são protegidas com|nachrichten und anrufe sind ende-zu-ende
    les messages et les appels sont chiffrés de bout|i messaggi e le chiamate sono crittografati
    mesajlar ve aramalar uçtan uca şifrelidir|मैसेजेस और कॉल्स एंड-टू-एंड एन्क्रिप्टेड
    berichten en gesprekken worden end-to-end"""
)
# Of media that can be viewed once, Android leaves nothing, or this word.
_VIEWED_ONCE: Final = ("", "null")

_KINDS: Final[dict[str, Kind]] = {
    **dict.fromkeys((*_MEDIA, *_DOCUMENT, *_VIEWED_ONCE), "media"),
    **dict.fromkeys(_DELETED, "deleted"),
}
_ATTACHED: Final = re.compile(  # Android: IMG-20231231-WA0001.jpg (file attached)
    r"[^\n]{1,255} \((?:file attached|archivo adjunto|archivo adjuntado|arquivo anexado|ficheiro anexado"
    r"|datei angehängt|fichier joint|file allegato|dosya ekli|फाइल अटैच कर दी गई है|bestand bijgevoegd)\)",
    re.IGNORECASE,
)
_TAG: Final = re.compile(  # iOS: <attached: 00000012-PHOTO-2023-12-31-21-41-05.jpg>
    r"<(?:attached|adjunto|anexado|anexo|anhang|angehängt|pièce jointe|allegato|eklendi|अटैच किया गया|bijgevoegd)"
    rf"{SPACE}?: ([^<>\n]{{1,255}})>",
    re.IGNORECASE,
)
_FILE: Final = r"[^\n]{1,255}\.\w{1,5}(?: • [^\n]{1,40})?"  # iOS names a document first: report.pdf • 3 pages
_FILE_LABEL: Final = re.compile(_FILE)
_FILE_OMITTED: Final = re.compile(f"{_FILE} (?:{'|'.join(_DOCUMENT)})")


def clean(text: str) -> str:
    """Return `text` without invisible marks, which belong to its display, and without space around it."""
    return text.strip() if text.isascii() else _MARKS.sub("", text).strip()


def classify(raw: str, *, ios: bool) -> tuple[Kind, str]:
    """Return what the text of an entry is, and the words in it that a person wrote (a caption counts as such)."""
    text = _without_edit_note(clean(raw))
    head, _, rest = text.partition("\n")
    note = _folded(head[: _MAX_LINE + 1])
    kind = _KINDS.get(note)
    if (kind == "deleted" and not rest) or note.startswith("this message was deleted by admin "):
        return "deleted", ""
    if kind == "media" or _is_attachment(note):
        return "media", rest.strip()  # Android puts the caption below
    caption = _caption(text, raw if ios else "")
    if caption is not None:
        return "media", caption
    by_app = ios and raw.startswith(APP_MARK)
    # Polls, whose options are marked as well, and places are the app's words too, but a person chose them.
    if note.startswith(_NOTICE_STARTS) or (by_app and f"\n{APP_MARK}" not in raw and "https://" not in raw):
        return "system", ""
    return "text", text


def _folded(line: str) -> str:
    """Return a line in the form of the tables: small letters, and no full stop unless it is all that stands there."""
    folded = line.casefold()
    return folded.rstrip(".") or folded


def _without_edit_note(text: str) -> str:
    if text.endswith(">"):
        start = text.rfind("<", -_MAX_LINE)
        if start >= 0 and text[start + 1 : -1].rstrip(".").casefold() in _EDITED:
            return text[:start].rstrip()
    return text


def _is_attachment(note: str) -> bool:
    if len(note) > _MAX_LINE:
        return False
    return (note.endswith(")") and _ATTACHED.fullmatch(note) is not None) or (
        note.endswith(_DOCUMENT) and _FILE_OMITTED.fullmatch(note) is not None
    )


def _caption(text: str, marked: str) -> str | None:
    """Return what was written beside media on iOS, before or below it; None when there is no media."""
    before, mark, note = marked.rpartition(APP_MARK)
    if mark and len(note) <= _MAX_LINE and _KINDS.get(_folded(clean(note))) == "media":
        return clean(before)
    tag = _TAG.search(text)
    if tag is None:
        return None
    caption = f"{text[: tag.start()]}{text[tag.end() :]}".strip()
    return "" if _FILE_LABEL.fullmatch(caption) and tag[1].endswith(caption.split(" • ")[0]) else caption
