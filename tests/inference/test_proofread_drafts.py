"""Proofreading, measured: drafts as people type them, with what a careful reader would put right, and no more.

`{wrong|right}` marks a slip; "draft => corrected" is for a line in which they are many. A third of the drafts are right
as they stand: chats have names, slang, initialisms and other languages in them, and none of that may be touched.
"""

import re
from difflib import SequenceMatcher
from typing import Final

import pytest

from inference.tasks.edits import Draft
from inference.tasks.proofread import proofread

DRAFTS: Final = """
hey {r u|are you} coming {tmrw|tomorrow} or {wat|what}
i think {he dont|he doesn't} know about the party yet
{Me and him goes|Me and him go} there every week
can you send me {an|a} photo of the kitchen
she said {a|an} hour is enough
I {recieved|received} the parcel this morning, thanks
we should {of|have} booked the earlier train
{their|they're} going to be late again
is {you're|your} mum coming on sunday
{its|it's} {to|too} late to change it now lol
that {restaraunt|restaurant} was {definately|definitely} worth it
the the kids are at the pool => the kids are at the pool
we was there at 6 and nobody came => we were there at 6 and nobody came
{I has|I have} no idea where the keys are
she {have|has} two dogs and a cat
did you {here|hear} that noise last night
i {dont|don't} want nothing
{pls|please} bring {ur|your} own chairs, we only have 4
{thx|thanks} for the lift yesterday!
{cant|can't} talk now, call {u|you} later
it was more expensive {then|than} last year
I'm {realy|really} {exited|excited} about the trip
the meeting is {tommorow|tomorrow} at 9, dont forget the slides => the meeting is tomorrow at 9, don't forget the slides
he {should of|should have} told us {befor|before}
I {seen|saw} her at the {libary|library}
there is {a|an} umbrella by the door
{your|you're} welcome, any time
lets meet at the station, not at the hotel => let's meet at the station, not at the hotel
who's bag is this => whose bag is this
{it's|its} tail is wagging
the dog lost it's collar => the dog lost its collar
Aoife and Siobhan are bringing the cake, Maja has the candles
gonna grab a kebab, anyone want owt from tesco?
lol no way haha that's mad
omg the wifi in this airbnb is shocking 😂
Ta, see ya in a bit, just parking up
nah mate, not tonight, knackered
yay!! so happy for you both ❤️
Tom's running late, he'll be there at ten past
could you pop round and feed the cats, they're on the porch
I wish it were summer already
If I were you I'd ask Priya first
the kids' shoes are in the hall
Do you know where the others are?
that's fine by me, whatever works
we had had enough by then, that that bothers them is odd
ok so plan is 8ish at mine, bring booze
@lena check https://example.org/recieve before u go => @lena check https://example.org/recieve before you go
Kubernetes pods keep crashing, check the nginx conf
Skol! Tack för igår, see you in Malmö
the weather is lovely, wether or not we go
I'd of gone if i knew => I'd have gone if I knew
neither of us was there
there was loads of people at the gig
{wich|which} bus goes to the {hospitel|hospital}
im {beeing|being} picked up at 5 => I'm being picked up at 5
{everyones|everyone's} here {exept|except} Marco
ill {defintely|definitely} be there => ill definitely be there
wheres the {reciept|receipt} for the fridge => where's the receipt for the fridge
{ppl|people} at work are {realy|really} {anoyed|annoyed} about the {scedule|schedule}
{wud|would} {u|you} be able to pick up the kids 2day
{plz|please} let me know b4 friday
she {dont|doesn't} like mushrooms, make it without
{they was|they were} meant to come at noon
I bought {a|an} extra ticket just in case
we need {an|a} bigger table for 12 {ppl|people}
he's {alot|a lot} better at it {then|than} me
could {of|have} been worse I guess
{there|their} car broke down on the motorway
{your|you're} right, sorry about that
it {doesnt|doesn't} {mater|matter}, we can go {anothe|another} day
I am {writting|writing} to ask about the {appartment|apartment}
can we {reschedual|reschedule} {are|our} call to {thursday|Thursday}
{teh|the} {plummer|plumber} is coming between 8 and 12
we went {threw|through} all the {pictuers|pictures} last night
{thats|that's} {wierd|weird}, mine works fine
I {loose|lose} my keys every single week
she's {geting|getting} married in {Febuary|February}
the {childrens|children's} room is ready
i {cudnt|couldn't} sleep at all {becouse|because} of the noise
{tomoro|tomorrow} {nite|night} works for me
gr8 news, {congratz|congrats} to both of {u|you}
let {me me|me} know when you land
is is that the right {adress|address}? => is that the right address?
I {has|have} {allready|already} payed for it => I have already paid for it
{recomend|recommend} any good {dentits|dentist} near you
we {didnt|didn't} realise how {expencive|expensive} it was
he {have|has} got the keys, ask him
whos driving on saturday => who's driving on Saturday
{wont|won't} be home till 7, dinner is in the oven
the {goverment|government} {anounced|announced} new rules
i'll {prolly|probably} be there around 8
{srry|sorry} just saw this {msg|message} {rn|right now}
what time does the concert {strats|starts}
{its|it's} been a long day
Grandma sends her love, she's doing much better
btw Zoë can't eat gluten, idk about Mikkel
ffs the bins weren't collected again
lmk when ur free and i'll book it => lmk when you're free and I'll book it
Deliveroo says 45 mins, might be quicker to walk tbh
haha yeah he's proper chuffed with it
hmmm dunno, might give it a miss this time
the footy's on at 3, pub or mine?
her and Dave are fostering a puppy, how cute!
Off to bed, night night x
u pls check the Jira board, the QA env is down => you please check the Jira board, the QA env is down
Meet at Gleis 7, not the main hall, ok?
Did Ngozi and Kwame reply about the Airbnb in Oaxaca?
Wow. Just wow. What a goal!
Could someone water the monstera while I'm away?
we're out of milk, oat or normal?
It is what it is, we'll figure it out
my nan swears by it, tastes like feet though
The results are in: 7 out of 10 prefer the old one
y'all coming or nah?
Bring your swimmers, the lido is open til 8
If it were up to me we'd leave at dawn
Who else was there? Whose idea was it?
That tapas place on Carrer de Blai, the one with the vermut
{bcuz|because} of the rain the match is off
{wen|when} is the dentist appointment, i forgot
{he don't|he doesn't} eat dairy so get the oat one
{we was|we were} stuck in traffic for two hours
can you grab {an|a} lemon and {a|an} onion from the shop
{your|you're} not going to believe this
they {wasnt|wasn't} home when i rang
i {shoulda|should have} bought it when it was cheaper
{thx|thanks} 4 everything, you're a star
{their|there} was a huge queue so we left
{pleae|please} dont tell her, {its|it's} a {suprise|surprise} => please don't tell her, it's a surprise
she is taller {then|than} her mum now
who's turn is it to cook => whose turn is it to cook
we {cant|can't} {aford|afford} another {holliday|holiday} this year
i {beleive|believe} the {manger|manager} is away until monday
{hav|have} {u|you} seen my charger anywhere
b there in 10
is it {to|too} early to call him
dont loose the tickets, they were expensive => don't lose the tickets, they were expensive
{there|their} neighbors are lovely
the film was {boaring|boring} but the popcorn was {exellent|excellent}
I {would of|would have} brought a jacket
{tmrw|tomorrow} {morn|morning} works, {wat|what} time
sum1 left {there|their} umbrella in my car
I have {a|an} idea, lets do a picnic => I have an idea, let's do a picnic
it {have|has} stopped working again
{aparently|apparently} the {buss|bus} doesn't run on {sundays|Sundays}
you {has|have} to see this
we {definatly|definitely} need more chairs for {thursday|Thursday}
my {freind|friend} Lukas knows a good {mechanik|mechanic}
sorry for the {inconvience|inconvenience}, the lift is broken
One of you has my charger, I'm sure of it
Are there kids coming? Is there home delivery?
We could of course take the tram
If it's faster then take the bus
The shop is just past the church
Who's home tonight? Is anyone up for a film
Tell me more then!
The people who like it are in the minority
Can't make it, our Deepa's got a temperature
Mateo, Zuzana, Ayşe and Oisín are in. Nikos maybe
Your right hand should be on top
ok ok I'm up, coffee first
she's at nan's w the dog
He went to the loo lol
Their almost inaudible applause said it all
Plan A is the beach, plan b is the museum
Gracias! See you at the mercado then
mum said bring a herb plant and an MRI form
the goal is to close by six
Let loose the hounds 😂
Nice weather to go out in
is dad ok? he seemed a bit off
Xmas drinks at ours, nibbles provided
that cafe w the blue door, iirc it's on Hope St
have past exam papers if you want them
tbh the new manager's alright innit
""".strip().splitlines()
SLIPS: Final = 161
FOUND: Final = 0.79  # of the slips; the rest takes meaning, or a guess that would often be wrong
_MARKED: Final = re.compile(r"\{([^|}]*)\|([^}]*)\}")
_WORD: Final = re.compile(r"[\w'@:/#-]+(?:\.\w+)*")


def read(line: str) -> tuple[str, str]:
    """Return a draft and what it should be."""
    draft, _, right = line.partition(" => ")
    return _MARKED.sub(r"\1", draft), _MARKED.sub(r"\2", right or draft)


def edits(before: str, after: str) -> set[tuple[int, int, str]]:
    """Return which words were replaced by which; capitals and marks do not count."""
    left, right = (_WORD.findall(text.lower()) for text in (before, after))
    found = set()
    for kind, start, end, first, last in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if kind == "replace" and end - start == last - first:
            found |= {(start + n, start + n + 1, right[first + n]) for n in range(end - start)}
        elif kind != "equal":
            found.add((start, end, " ".join(right[first:last])))
    return found


def proofed(text: str) -> str:
    draft = Draft(text)
    proofread(draft)
    return draft.text


@pytest.mark.parametrize("line", DRAFTS)
def test_nothing_is_changed_that_was_right(line: str) -> None:
    draft, right = read(line)
    assert edits(draft, proofed(draft)) <= edits(draft, right)


def test_most_slips_are_found() -> None:
    slips = [edits(*read(line)) for line in DRAFTS]
    fixed = [edits(draft, proofed(draft)) & slip for slip, (draft, _) in zip(slips, map(read, DRAFTS), strict=True)]
    assert sum(map(len, slips)) == SLIPS
    assert sum(map(len, fixed)) >= FOUND * SLIPS
    assert sum(not slip for slip in slips) * 3 > len(DRAFTS)
