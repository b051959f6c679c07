"""WhatsApp exports: every style that the apps are known to write, and files made to break a parser.

The samples follow exports that people have posted with parsers' bug reports; names, numbers and words are our own.
"""

import contextlib
import io
import time
import tracemalloc
import zipfile
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seclude.client.chats import Chat, ChatError, ChatMessage, DateOrder
from seclude.client.formats import parse_chat_file
from seclude.tasks import MAX_SENDER

LRM, RLM, NNBSP, NBSP = "\u200e", "\u200f", "\u202f", "\u00a0"
EVENING = datetime(2023, 12, 31, 21, 41)
EVENING_05 = datetime(2023, 12, 31, 21, 41, 5)


def read(text: str, date_order: DateOrder | None = None) -> Chat:
    return parse_chat_file(text.encode(), date_order=date_order)


def said(chat: Chat) -> list[tuple[str, str]]:
    return [(message.sender, message.text) for message in chat.messages]


HEADS = [
    ("12/31/23, 9:41 PM - ", EVENING),
    (f"12/31/23, 9:41{NNBSP}PM - ", EVENING),
    (f"31/12/2023, 9:41{NNBSP}pm - ", EVENING),
    ("31/12/2023, 21:41 - ", EVENING),
    ("31.12.23, 21:41 - ", EVENING),
    ("31/12/2023 21:41 - ", EVENING),
    ("31-12-2023 21:41 - ", EVENING),
    ("31/12/2023 à 21:41 - ", EVENING),
    ("2023-12-31, 9:41 p.m. - ", EVENING),
    (f"31/12/23, 9:41 p.{NBSP}m. - ", EVENING),
    ("31/12/2023, 9:41 p. m. - ", EVENING),
    ("2023/12/31, 9:41 pm - ", EVENING),
    ("2023/12/31 下午9:41 - ", EVENING),
    ("2023. 12. 31. 오후 9:41 - ", EVENING),
    ("2023. 12. 31. 21:41 - ", EVENING),
    ("31.12.2023 21.41 - ", EVENING),
    ("2023-12-31 21 h 41 - ", EVENING),
    ("31.12.2023 ÖS 9:41 - ", EVENING),
    (f"{RLM}٣١{RLM}/١٢{RLM}/٢٠٢٣، ٩:٤١{NBSP}م - ", EVENING),
    ("[12/31/23, 9:41:05 PM] ", EVENING_05),
    (f"[12/31/23, 9:41:05{NNBSP}PM] ", EVENING_05),
    (f"{LRM}[31.12.23, 21:41:05] ", EVENING_05),
    ("[31/12/2023, 21:41:05] ", EVENING_05),
    ("[31-12-2023 21:41:05] ", EVENING_05),
    ("[2023-12-31, 9:41:05 PM] ", EVENING_05),
    ("[2023-12-31, 21:41:05] ", EVENING_05),
    ("[31.12.2023 klo 21.41.05] ", EVENING_05),
    ("[2023/12/31 下午9:41:05] ", EVENING_05),
]


@pytest.mark.parametrize(("head", "when"), HEADS)
def test_every_style_of_date_and_time_is_read(head: str, when: datetime) -> None:
    chat = read(f"{head}Anna: see you there\n{head}Bob: yes\nand a second line\n")
    assert chat.messages == (
        ChatMessage("Anna", "see you there", when),
        ChatMessage("Bob", "yes\nand a second line", when),
    )
    assert chat.format == ("whatsapp-ios" if "[" in head else "whatsapp-android")
    assert not chat.warnings


@pytest.mark.parametrize(
    ("clock", "hour"),
    [("12:05 AM", 0), ("1:05 am", 1), ("11:05 a.m.", 11), ("12:05 PM", 12), ("1:05 p. m.", 13), ("11:05 pm", 23)],
)
def test_a_clock_of_twelve_hours_is_read(clock: str, hour: int) -> None:
    assert read(f"31/12/2023, {clock} - Anna: hi\n").messages[0].time == datetime(2023, 12, 31, hour, 5)


@pytest.mark.parametrize(
    "head",
    [
        "32/13/2023, 21:41",
        "31/12/2023, 24:00",
        "31/12/2023, 21:60",
        "31/12/2023, 13:00 PM",
        "30/02/2023, 21:41",
        "31/12/123, 21:41",
    ],
)
def test_an_impossible_time_heads_no_message(head: str) -> None:
    with pytest.raises(ChatError):
        read(f"{head} - Anna: hi\n")
    assert said(read(f"31/12/2023, 21:41 - Anna: hi\n{head} - Anna: hi\n"))[0][1].startswith("hi")


def test_a_byte_order_mark_and_carriage_returns_are_left_out() -> None:
    chat = read("\ufeff[31.12.23, 21:41:05] Anna: one\r\ntwo\r\n[31.12.23, 21:41:06] Bob: three\r\n")
    assert said(chat) == [("Anna", "one\ntwo"), ("Bob", "three")]


def test_the_last_line_needs_no_end() -> None:
    assert said(read("31/12/2023, 21:41 - Anna: hi")) == [("Anna", "hi")]


# --- Which number is the day ---


def dated(dates: list[str], date_order: DateOrder | None = None) -> Chat:
    return read("".join(f"{date}, 21:41 - Anna: hi\n" for date in dates), date_order)


def days(chat: Chat) -> list[tuple[int, int, int]]:
    return [(m.time.year, m.time.month, m.time.day) for m in chat.messages if m.time is not None]


def test_a_number_above_twelve_tells_the_day_for_the_whole_file() -> None:
    chat = dated(["1/2/23", "1/13/23"])
    assert days(chat) == [(2023, 1, 2), (2023, 1, 13)]
    assert not chat.ambiguous_dates
    assert days(dated(["1/2/23", "13/2/23"])) == [(2023, 2, 1), (2023, 2, 13)]


def test_otherwise_time_has_to_go_forward() -> None:
    chat = dated(["9/1/23", "10/1/23", "1/2/23", "2/2/23"])  # backwards once if the month came first
    assert days(chat) == [(2023, 1, 9), (2023, 1, 10), (2023, 2, 1), (2023, 2, 2)]
    assert not chat.ambiguous_dates
    assert days(dated(["1/9/23", "1/10/23", "2/1/23"])) == [(2023, 1, 9), (2023, 1, 10), (2023, 2, 1)]


def test_dates_that_fit_both_ways_are_read_day_first_and_said_to_be_a_guess() -> None:
    chat = dated(["03/04/2023", "04/04/2023"])
    assert days(chat) == [(2023, 4, 3), (2023, 4, 4)]
    assert chat.ambiguous_dates
    assert "--date-order mdy" in chat.warnings[0]


def test_american_style_is_guessed_to_be_month_first() -> None:
    chat = read(f"3/4/23, 9:41{NNBSP}PM - Anna: hi\n")
    assert days(chat) == [(2023, 3, 4)]
    assert chat.ambiguous_dates
    assert "--date-order dmy" in chat.warnings[0]


@pytest.mark.parametrize(
    "head", ["03/04/23, 9:41 PM - ", "3/4/23, 9:41 pm - ", "3/4/2023, 9:41 PM - ", "3.4.23, 9:41 PM - "]
)
def test_no_other_style_is_guessed_to_be_american(head: str) -> None:
    assert days(read(f"{head}Anna: hi\n")) == [(2023, 4, 3)]


def test_dates_that_mean_the_same_both_ways_are_no_guess() -> None:
    assert not dated(["5/5/23", "6/6/23"]).ambiguous_dates


def test_a_year_of_four_digits_at_the_start_is_never_a_guess() -> None:
    chat = dated(["2023-03-04", "2023-03-05"])
    assert days(chat) == [(2023, 3, 4), (2023, 3, 5)]
    assert not chat.ambiguous_dates


@pytest.mark.parametrize(("order", "day"), [("dmy", (2012, 11, 10)), ("mdy", (2012, 10, 11)), ("ymd", (2010, 11, 12))])
def test_the_order_can_be_given(order: DateOrder, day: tuple[int, int, int]) -> None:
    chat = dated(["10/11/12"], order)
    assert days(chat) == [day]
    assert not chat.ambiguous_dates
    assert not chat.warnings


@pytest.mark.parametrize(
    ("date", "order"), [("13/1/23", "mdy"), ("1/13/23", "dmy"), ("2023-01-13", "dmy"), ("13/1/2023", "ymd")]
)
def test_an_order_that_does_not_fit_is_refused(date: str, order: DateOrder) -> None:
    with pytest.raises(ChatError, match=f"do not fit --date-order {order}"):
        dated(["1/2/23", date] if date[-4:] != "2023" and "-" not in date else [date], order)


def test_one_quoted_line_does_not_turn_the_order_round() -> None:
    chat = dated(["13/1/23", "14/1/23", "1/15/23", "16/1/23"])
    assert days(chat) == [(2023, 1, 13), (2023, 1, 14), (2023, 1, 16)]
    assert chat.messages[1].text == "hi\n1/15/23, 21:41 - Anna: hi"


# --- Texts ---


def test_lines_that_only_look_like_dates_belong_to_the_text() -> None:
    text = (
        "dates:\n31/12/2023\n31/12/2023, 21:41\n31/12 - rehearsal\n[1] one\n21:41 - late\n\n31.12.2023, 21:41 - Bob: no"
    )
    chat = read(f"31/12/2023, 21:41 - Anna: {text}\n31/12/2023, 21:42 - Bob: ok\n")
    assert said(chat) == [("Anna", text), ("Bob", "ok")]
    assert chat.warnings == ("lines that look like messages of another export, read as text: 1",)


@pytest.mark.parametrize(
    "quoted",
    [
        "[31/12/2023, 21:40:00] Bob: yes",
        "[9:40 pm, 31/12/2023] Bob: yes",
        "31/12/2023, 9:40 PM - Bob: yes",
        "31/12/2023 21:40 - Bob: yes",
        "31/12/23, 21:40 - Bob: yes",
        " 31/12/2023, 21:40 - Bob: yes",
        "> 31/12/2023, 21:40 - Bob: yes",
    ],
)
def test_a_quotation_in_another_shape_puts_no_words_into_anybodys_mouth(quoted: str) -> None:
    assert said(read(f"31/12/2023, 21:41 - Anna: look\n{quoted}\n")) == [("Anna", f"look\n{quoted}".strip())]


def test_what_stands_above_the_first_message_is_left_out_with_a_warning() -> None:
    chat = read("WhatsApp Chat with Anna\n\n31/12/2023, 21:41 - Anna: hi\n")
    assert said(chat) == [("Anna", "hi")]
    assert chat.warnings == ("the text above the first message was left out",)


def test_colons_and_links_in_a_text_stay() -> None:
    text = "note: see https://example.org/a?b=1: it says: yes"
    assert said(read(f"31/12/2023, 21:41 - Anna: {text}\n31/12/2023, 21:41 - Anna: ok\n"))[0] == ("Anna", text)


def test_mentions_lose_their_marks() -> None:
    chat = read("31/12/2023, 21:41 - Anna: @\u2068Bob Ray\u2069 and @\u2068~Cy\u2069: come\n")
    assert chat.messages[0].text == "@Bob Ray and @~Cy: come"


def test_emoji_keep_the_joiners_that_hold_them_together() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467 ❤\ufe0f"
    assert read(f"31/12/2023, 21:41 - Anna: {family}\n").messages[0].text == family


# --- Senders ---


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Anna", "Anna"),
        ("Anna-Lena O'Neil (work) - new", "Anna-Lena O'Neil (work) - new"),
        ("Mum 🌻", "Mum 🌻"),
        ("+44 7700 900123", "+44 7700 900123"),
        ("\u202a+44\u00a07700\u00a0900123\u202c", "+44 7700 900123"),
        (f"~{NNBSP}Kai", "~ Kai"),
        ("~ Kai", "~ Kai"),
        ("12:30 Club", "12:30 Club"),
        ("Anna \u201cAnnie\u201d S", "Anna \u201cAnnie\u201d S"),
        ("אנה", "אנה"),
        ("x" * MAX_SENDER, "x" * MAX_SENDER),
    ],
)
@pytest.mark.parametrize("head", ["31/12/2023, 21:41 - ", "[31/12/2023, 21:41:05] "])
def test_every_kind_of_name_is_read(head: str, written: str, name: str) -> None:
    assert said(read(f"{head}{written}: hi\n")) == [(name, "hi")]


def test_a_name_with_a_colon_is_known_by_never_being_seen_without() -> None:
    lines = ["Street: Anna: hello", "Street: Bob: hi", "Cy: note: milk"] * 3 + ["Cy: ok"]
    chat = read("".join(f"31/12/2023, 21:41 - {line}\n" for line in lines))
    assert said(chat)[:3] == [("Street: Anna", "hello"), ("Street: Bob", "hi"), ("Cy", "note: milk")]


def test_what_is_too_long_for_a_name_is_none() -> None:
    chat = read(f"31/12/2023, 21:41 - {'x' * (MAX_SENDER + 1)}: hi\n31/12/2023, 21:41 - Anna: hi\n")
    assert said(chat) == [("Anna", "hi")]
    assert chat.skipped.system == 1


# --- Events, media, deleted messages ---

EVENTS = [
    "Messages and calls are end-to-end encrypted. Only people in this chat can read or share them. Learn more.",
    'Anna created group "Party: 2024"',
    "Anna created group \u201cParty: 2024\u201d",
    'Anna changed the group name from "Party" to "Party: Sunday: late"',
    "Anna hat den Gruppennamen von \u201eFest\u201c zu \u201eFest: Sonntag\u201c geändert",
    "Anna a changé le nom du groupe en «Fête: dimanche»",
    "Anna added Bob",
    "Bob left",
    "Anna changed the group description",
    "Your security code with Anna changed. Tap to learn more.",
    "+44 7700 900123 joined using this group's invite link",
    "Du wurdest hinzugefügt",
]


@pytest.mark.parametrize("event", EVENTS)
def test_events_on_android_are_counted_and_skipped(event: str) -> None:
    chat = read(f"31/12/2023, 21:41 - {event}\n31/12/2023, 21:41 - Anna: hi\n")
    assert said(chat) == [("Anna", "hi")]
    assert chat.skipped.system == 1


@pytest.mark.parametrize("event", [*EVENTS, "Missed voice call", "Voice call, \u200e2 min", "Anna pinned a message"])
def test_events_on_ios_are_counted_and_skipped(event: str) -> None:
    chat = read(f"[31/12/2023, 21:41:05] Party 2024: {LRM}{event}\n[31/12/2023, 21:41:06] Anna: hi\n")
    assert said(chat) == [("Anna", "hi")]
    assert chat.skipped.system == 1


NOTICES = [
    "Messages and calls are end-to-end encrypted. No one outside of this chat can read or listen to them.",
    "Los mensajes y las llamadas están cifrados de extremo a extremo. Nadie fuera de este chat puede leerlos.",
    "As mensagens e as chamadas são protegidas com a criptografia de ponta a ponta.",
    "Nachrichten und Anrufe sind Ende-zu-Ende-verschlüsselt. Niemand außerhalb dieses Chats kann sie lesen.",
    "Les messages et les appels sont chiffrés de bout en bout. Aucun tiers ne peut les lire.",
    "I messaggi e le chiamate sono crittografati end-to-end. Nessuno al di fuori può leggerli.",
    "Mesajlar ve aramalar uçtan uca şifrelidir.",
    "मैसेजेस और कॉल्स एंड-टू-एंड एन्क्रिप्टेड हैं.",
]


@pytest.mark.parametrize("notice", NOTICES)
def test_the_encryption_notice_is_nobodys_message(notice: str) -> None:
    chat = read(f"[31/12/2023, 21:41:05] Anna: {notice}\n[31/12/2023, 21:41:06] Anna: hi\n")
    assert said(chat) == [("Anna", "hi")]
    assert chat.skipped.system == 1


ANDROID_MEDIA = [
    "<Media omitted>",
    "<Multimedia omitido>",
    "<Mídia oculta>",
    "<Arquivo de mídia oculto>",
    "<Medien ausgeschlossen>",
    "<Médias omis>",
    "<Media omessi>",
    "<Medya dahil edilmedi>",
    "<मीडिया के बिना>",
    "<View once voice message omitted>",
    "IMG-20231231-WA0001.jpg (file attached)",
    f"{LRM}IMG-20231231-WA0001.jpg (file attached)",
    "PTT-20231231-WA0002.opus (archivo adjunto)",
    "report (final).pdf (arquivo anexado)",
    "IMG-20231231-WA0001.jpg (Datei angehängt)",
    "STK-20231231-WA0001.webp (fichier joint)",
    "VID-20231231-WA0001.mp4 (file allegato)",
    "IMG-20231231-WA0001.jpg (dosya ekli)",
]
IOS_MEDIA = [
    "image omitted",
    "GIF omitted",
    "Contact card omitted",
    "imagen omitida",
    "figurinha omitida",
    "áudio ocultado",
    "Bild weggelassen",
    "Kontaktkarte ausgelassen",
    "image absente",
    "GIF retiré",
    "immagine omessa",
    "sticker non incluso",
    "görüntü dahil edilmedi",
    "Çıkartma dahil edilmedi",
    "फ़ोटो हटाई गई",
    "report.v2.pdf • \u200e3 pages \u200edocument omitted",
    "Bericht.pdf • \u200e3 Seiten \u200eDokument weggelassen",
    "notes.txt \u200edocument omitted",
    "<attached: 00000012-PHOTO-2023-12-31-21-41-05.jpg>",
    "<adjunto: 00000004-AUDIO-2023-12-31-21-41-05.opus>",
    "<Anhang: 00000012-PHOTO-2023-12-31-21-41-05.jpg>",
    "<pièce jointe : 00000012-PHOTO-2023-12-31-21-41-05.jpg>",
    "<allegato: 00000012-VIDEO-2023-12-31-21-41-05.mp4>",
    "report.pdf • \u200e3 pages \u200e<attached: 00000002-report.pdf>",
]


@pytest.mark.parametrize("media", [*ANDROID_MEDIA, "null"])
def test_media_on_android_is_counted_and_its_caption_kept(media: str) -> None:
    chat = read(f"31/12/2023, 21:41 - Anna: {media}\n31/12/2023, 21:41 - Bob: {media}\nthe cat\nat noon\n")
    assert said(chat) == [("Bob", "the cat\nat noon")]
    assert chat.skipped.media == 2


def test_what_android_leaves_of_media_viewed_once_is_counted() -> None:
    chat = read("31/12/2023, 21:41 - Anna: \n31/12/2023, 21:41 - Bob:\n31/12/2023, 21:41 - Anna: hi\n")
    assert said(chat) == [("Anna", "hi")]
    assert chat.skipped.media == 2


@pytest.mark.parametrize("media", IOS_MEDIA)
def test_media_on_ios_is_counted(media: str) -> None:
    for mark in (LRM, ""):
        chat = read(f"{LRM}[31/12/2023, 21:41:05] Anna: {mark}{media}\r\n[31/12/2023, 21:41:06] Bob: hi\r\n")
        assert said(chat) == [("Bob", "hi")]
        assert chat.skipped.media == 1


@pytest.mark.parametrize(
    "media", ["image omitted", "Bild weggelassen", "<attached: 00000012-PHOTO-2023-12-31-21-41-05.jpg>"]
)
def test_captions_on_ios_stand_before_or_below(media: str) -> None:
    chat = read(
        f"{LRM}[31/12/2023, 21:41:05] Anna: the cat {LRM}{media}\n"
        f"{LRM}[31/12/2023, 21:41:05] Bob: {LRM}{media}\nthe dog\n"
    )
    assert said(chat) == [("Anna", "the cat"), ("Bob", "the dog")]
    assert chat.skipped.media == 2


@pytest.mark.parametrize(
    "text",
    [
        "the image omitted the date",
        "I lost the image omitted",
        "nullable",
        "see report.pdf (page 3)",
        "<attached>",
        "a document omitted by mistake, sorry",
    ],
)
def test_words_about_media_are_no_media(text: str) -> None:
    assert said(read(f"31/12/2023, 21:41 - Anna: {text}\n")) == [("Anna", text)]
    assert said(read(f"[31/12/2023, 21:41:05] Anna: {text}\n")) == [("Anna", text)]


DELETED = [
    "This message was deleted",
    "This message was deleted.",
    "You deleted this message",
    "This message was deleted by admin Bob.",
    "Se eliminó este mensaje.",
    "Eliminaste este mensaje.",
    "Mensagem apagada",
    "Esta mensagem foi apagada",
    "Diese Nachricht wurde gelöscht.",
    "Du hast diese Nachricht gelöscht.",
    "Ce message a été supprimé",
    "Vous avez supprimé ce message",
    "Questo messaggio è stato eliminato",
    "Hai eliminato questo messaggio",
    "Bu mesaj silindi",
    "Bu mesajı sildiniz",
    "यह मैसेज डिलीट कर दिया गया है",
]


@pytest.mark.parametrize("notice", DELETED)
def test_deleted_messages_are_counted_and_skipped(notice: str) -> None:
    for head, mark in (("31/12/2023, 21:41 - ", ""), ("[31/12/2023, 21:41:05] ", LRM)):
        chat = read(f"{head}Anna: {mark}{notice}\n{head}Bob: hi\n")
        assert said(chat) == [("Bob", "hi")]
        assert chat.skipped.deleted == 1


def test_somebody_who_says_more_than_the_notice_is_heard() -> None:
    text = "This message was deleted\nis what I saw, why?"
    assert said(read(f"31/12/2023, 21:41 - Anna: {text}\n")) == [("Anna", text)]


@pytest.mark.parametrize(
    "note",
    [
        "<This message was edited>",
        "<Se editó este mensaje.>",
        "<Mensagem editada>",
        "<Diese Nachricht wurde bearbeitet.>",
        "<Ce message a été modifié>",
        "<Questo messaggio è stato modificato>",
        "<Bu mesaj düzenlendi>",
    ],
)
def test_the_note_of_an_edit_is_left_out(note: str) -> None:
    for head, mark in (("31/12/2023, 21:41 - ", ""), ("[31/12/2023, 21:41:05] ", LRM)):
        assert said(read(f"{head}Anna: at <ten>\nor so {mark}{note}\n")) == [("Anna", "at <ten>\nor so")]


def test_other_angle_brackets_stay() -> None:
    assert said(read("31/12/2023, 21:41 - Anna: a <b>\n31/12/2023, 21:41 - Anna: >>\n")) == [
        ("Anna", "a <b>"),
        ("Anna", ">>"),
    ]


def test_polls_and_places_are_kept_as_text() -> None:
    android = read(
        "31/12/2023, 21:41 - Anna: POLL:\nWhen?\nOPTION: Sat (2 votes)\n\n31/12/2023, 21:41 - Bob: location: https://maps.google.com/?q=1.0,2.0\n"
    )
    ios = read(
        f"{LRM}[31/12/2023, 21:41:05] Anna: {LRM}POLL:\nWhen?\n{LRM}OPTION: Sat ({LRM}2 votes)\n\n"
        f"{LRM}[31/12/2023, 21:41:06] Bob: {LRM}Location: https://maps.google.com/?q=1.0,2.0\n"
    )
    assert said(android) == [
        ("Anna", "POLL:\nWhen?\nOPTION: Sat (2 votes)"),
        ("Bob", "location: https://maps.google.com/?q=1.0,2.0"),
    ]
    assert said(ios) == [
        ("Anna", "POLL:\nWhen?\nOPTION: Sat (2 votes)"),
        ("Bob", "Location: https://maps.google.com/?q=1.0,2.0"),
    ]


# --- Archives ---


def archive(*members: tuple[str, str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as made:
        for name, text in members:
            made.writestr(name, text)
    return out.getvalue()


CHAT = "31/12/2023, 21:41 - Anna: hi\n"


@pytest.mark.parametrize(
    "members",
    [
        [("_chat.txt", CHAT)],
        [("WhatsApp Chat with Anna.txt", CHAT), ("IMG-20231231-WA0001.jpg", "\x00")],
        [("chat.TXT", CHAT)],
        [("_chat.txt", CHAT), ("notes.txt", "no chat")],
        [("Chat de WhatsApp con Anna/Chat de WhatsApp con Anna.txt", CHAT), ("00000003-notes.txt", "no chat")],
        [("_chat.txt", CHAT), ("__MACOSX/._WhatsApp Chat.txt", "\x00\x05\x16\x07")],
    ],
)
def test_an_archive_with_one_chat_is_read(members: list[tuple[str, str]]) -> None:
    assert said(parse_chat_file(archive(*members))) == [("Anna", "hi")]


@pytest.mark.parametrize(
    "members",
    [[], [("photo.jpg", "x")], [("a.txt", CHAT), ("b.txt", CHAT)], [("_chat.txt", CHAT), ("b/_chat.txt", CHAT)]],
)
def test_an_archive_with_no_chat_or_two_is_refused(members: list[tuple[str, str]]) -> None:
    with pytest.raises(ChatError):
        parse_chat_file(archive(*members))


def test_an_archive_that_unpacks_to_more_than_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seclude.client.whatsapp.MAX_CHAT_BYTES", 1 << 20)
    bomb = archive(("_chat.txt", CHAT + "0" * (32 << 20)))
    assert len(bomb) < 1 << 16
    tracemalloc.start()
    with pytest.raises(ChatError, match="more than 1 MiB"):
        parse_chat_file(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20  # no more of it was unpacked than the refusal needed


def test_an_archive_in_an_unusual_compression_is_refused() -> None:
    with pytest.raises(ChatError, match=r"unpack it and give the \.txt"):
        parse_chat_file(archive(("_chat.txt", CHAT), method=zipfile.ZIP_BZIP2))


@given(
    at=st.integers(min_value=0, max_value=10_000),
    value=st.integers(min_value=0, max_value=255),
    cut=st.integers(0, 200),
)
@settings(max_examples=300, deadline=None)
def test_a_damaged_archive_is_refused_or_read_and_nothing_else(at: int, value: int, cut: int) -> None:
    data = bytearray(archive(("_chat.txt", CHAT * 5)))
    data[4 + at % (len(data) - 4)] = value
    with contextlib.suppress(ChatError):
        parse_chat_file(bytes(data[: len(data) - (cut if cut < 50 else 0)]))


# --- What is no chat ---

JUNK = [
    bytes(range(256)) * 8,
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(64),
    b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(64),
    b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n",
    b"\x00" * 1000,
    b"Dear diary,\non 31/12/2023 at 21:41 - finally - nothing happened.\n",
    b"[section]\nkey = value\n",
    b"2023-12-31 21:41:05,123 INFO server: started\n",
    b"31/12/2023, 21:41 - no sender here\n",
    ("line\n" * 30 + CHAT).encode(),
    CHAT.encode("utf-16"),
    b"PK\x03\x04" + bytes(100),
    b"[1, 2, 3]",
]


@pytest.mark.parametrize("junk", JUNK)
def test_what_is_no_chat_is_refused_in_one_sentence_that_says_what_is_read(junk: bytes) -> None:
    with pytest.raises(ChatError) as refused:
        parse_chat_file(junk)
    assert "give" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.__cause__ is None


@given(
    st.binary(max_size=200)
    | st.text(alphabet="0123456789/.-,:[] APMapm\n\u200e\u202fAnna<>()", max_size=200).map(str.encode)
)
@settings(max_examples=500, deadline=None)
def test_no_file_breaks_the_reader(data: bytes) -> None:
    try:
        chat = parse_chat_file(data)
    except ChatError:
        return
    assert all(message.sender and message.text for message in chat.messages)


# --- Time ---

MIB = 1 << 20
HEAD = "12/31/23, 9:41 PM - Anna: "
HOSTILE = {
    "digits": "1" * MIB,
    "brackets": "[" * MIB,
    "dates without end": "1/1/" * (MIB // 4),
    "short lines": "1.1.1\n" * (MIB // 6),
    "marks": ("[" + LRM * 4) * (MIB // 13),
    "digits in a text": HEAD + "1" * MIB,
    "spaces in a text": HEAD + " " * MIB + "x",
    "colons in a text": HEAD + ":" * MIB,
    "colons and spaces": HEAD + ": " * (MIB // 2),
    "angles in a text": HEAD + "<" * MIB + ">",
    "tags in a text": HEAD + "<attached: " * (MIB // 11) + ">",
    "parentheses": HEAD + "a (" * (MIB // 3) + ")",
    "dots": HEAD + "a." * (MIB // 2) + " document omitted",
    "bullets": HEAD + "a.b • " * (MIB // 8) + " document omitted",
    "marks in a text": HEAD.replace("12/31/23, 9:41 PM - ", "[12/31/23, 9:41:05 PM] ") + LRM * (MIB // 3),
    "quotes in a name": '12/31/23, 9:41 PM - "' * (MIB // 21),
    "a thousand senders": "".join(f"12/31/23, 9:41 PM - A{n}: x: y\n" for n in range(MIB // 32)),
    "every date there is": "".join(
        f"{1 + n % 12}/{1 + n % 28}/{2000 + n % 99}, 9:41 PM - A: y\n" for n in range(MIB // 27)
    ),
    "a head on every line": "12/31/23, 9:41 PM - \n" * (MIB // 21),
    "empty lines": HEAD + "\n" * MIB,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_lines_cost_no_more_than_others(name: str) -> None:
    begun = time.process_time()
    with contextlib.suppress(ChatError):
        read(HOSTILE[name])
    assert time.process_time() - begun < 5  # under a second here; anything quadratic takes minutes


def test_five_megabytes_are_read_at_once() -> None:
    said_by_all = "und dann näh ich's 👍 noch um zehn"
    lines = [
        f"{1 + n // 9000}/{1 + n // 400 % 28}/23, {1 + n % 12}:{n % 60:02}{NNBSP}PM - Person {n % 7}: {said_by_all}\n"
        for n in range(80_000)
    ]
    text = "".join(lines)
    assert len(text.encode()) > 5_000_000
    begun = time.process_time()
    chat = read(text)
    assert time.process_time() - begun < 5  # about one second here
    assert len(chat.messages) == len(lines)
    assert chat.messages[-1].text == said_by_all


# --- Write a chat in a style, read it back ---

STYLES: dict[str, tuple[str, DateOrder]] = {
    "{m}/{d}/{y:02}, {h12}:{i:02}\u202f{AP}M - ": ("mdy", "mdy"),
    "{d:02}/{m:02}/{Y}, {h:02}:{i:02} - ": ("dmy", "dmy"),
    "{d:02}.{m:02}.{y:02}, {h:02}:{i:02} - ": ("dmy", "dmy"),
    "{Y}-{m:02}-{d:02}, {h12}:{i:02} {ap}.m. - ": ("ymd", "ymd"),
    "\u200e[{d:02}.{m:02}.{y:02}, {h:02}:{i:02}:{s:02}] ": ("dmy", "dmy"),
    "[{m}/{d}/{y:02}, {h12}:{i:02}:{s:02}\u202f{AP}M] ": ("mdy", "mdy"),
    "[{Y}/{m:02}/{d:02} {h:02}:{i:02}:{s:02}] ": ("ymd", "ymd"),
}


def head_in(style: str, when: datetime) -> str:
    half = "p" if when.hour >= 12 else "a"
    return style.format(
        d=when.day,
        m=when.month,
        y=when.year % 100,
        Y=when.year,
        h=when.hour,
        h12=when.hour % 12 or 12,
        i=when.minute,
        s=when.second,
        ap=half,
        AP=half.upper(),
    )


LETTERS = st.characters(
    codec="utf-8", exclude_categories=("Cc", "Cf", "Cs", "Zs", "Zl", "Zp"), exclude_characters=':"“”„«»<>\x85'
)
NAMES = st.lists(st.text(LETTERS, min_size=1, max_size=12), min_size=1, max_size=3).map(" ".join)
WORDS = st.lists(
    st.text(LETTERS, min_size=1, max_size=12)
    | st.sampled_from(["31/12/2023,", "21:41", "-", "a:", "[1]", "\n", "\n\n"]),
    min_size=1,
    max_size=12,
)
TEXTS = WORDS.map(" ".join).map(str.strip).filter(lambda text: text not in ("", "null"))
TIMES = st.datetimes(datetime(2009, 1, 1), datetime(2099, 12, 31)).map(lambda when: when.replace(microsecond=0))


@given(
    style=st.sampled_from(sorted(STYLES)),
    sent=st.lists(st.tuples(NAMES, TEXTS, TIMES), min_size=1, max_size=8),
    crlf=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_a_chat_written_in_a_style_is_read_back(style: str, sent: list[tuple[str, str, datetime]], crlf: bool) -> None:
    if "{s" not in style:
        sent = [(sender, text, when.replace(second=0)) for sender, text, when in sent]
    sent = [(f"~ {sender}", text, when) for sender, text, when in sent]
    # A sender whose texts all begin with a label would be read as a name with a colon, so each says one thing without.
    sent += [(sender, "ok", sent[-1][2]) for sender in {sender for sender, _, _ in sent}]
    written = "".join(f"{head_in(style, when)}{sender}: {text}\n" for sender, text, when in sent)
    chat = read(written.replace("\n", "\r\n") if crlf else written, STYLES[style][1])
    assert chat.messages == tuple(ChatMessage(*message) for message in sent)
    assert chat.skipped.system == chat.skipped.media == chat.skipped.deleted == 0


@pytest.mark.parametrize("text", [".", "...", "…", "?"])
def test_a_message_of_marks_alone_is_a_message(text: str) -> None:
    chat = parse_chat_file(f"[2009/01/01 00:00:00] Ana: {text}\n".encode())
    assert [message.text for message in chat.messages] == [text]
