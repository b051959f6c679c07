"""The words of the rules of writing. Each table holds only what is wrong, or loose, in nearly every place it stands in.

Left out on purpose, since they may also be right: were, well, ill, its, your, wether, loosing, sat, may, march, polish.
"""

from typing import Final


def _table(text: str) -> dict[str, str]:
    """Read "before=after, before=after"."""
    table = {}
    for item in " ".join(text.split()).split(", "):
        before, _, after = item.partition("=")
        table[before] = after
    return table


SPELLING: Final = _table(
    """
    teh=the, taht=that, adn=and, becuase=because, becasue=because, beacuse=because, recieve=receive, recieved=received,
    recieving=receiving, definately=definitely, definatly=definitely, defiantely=definitely, seperate=separate,
    seperately=separately, occured=occurred, occuring=occurring, untill=until, tommorow=tomorrow, tommorrow=tomorrow,
    tomorow=tomorrow, wich=which, freind=friend, freinds=friends, wierd=weird, beleive=believe, beleived=believed,
    thier=their, adress=address, accomodate=accommodate, accomodation=accommodation, calender=calendar,
    goverment=government, enviroment=environment, neccessary=necessary, necesary=necessary, publically=publicly,
    reccomend=recommend, recomend=recommend, restaraunt=restaurant, resturant=restaurant, suprise=surprise,
    suprised=surprised, truely=truly, alot=a lot, arguement=argument, basicly=basically, begining=beginning,
    buisness=business, collegue=colleague, collegues=colleagues, comming=coming, commited=committed,
    completly=completely, concious=conscious, diffrent=different, dissapointed=disappointed, embarass=embarrass,
    embarassing=embarrassing, existance=existence, familar=familiar, finaly=finally, foriegn=foreign,
    greatful=grateful, guarentee=guarantee, happend=happened, immediatly=immediately, independant=independent,
    intresting=interesting, knowlege=knowledge, libary=library, maintainance=maintenance, noticable=noticeable,
    occassion=occasion, occasionaly=occasionally, peice=piece, posession=possession, prefered=preferred,
    probaly=probably, probly=probably, realy=really, refered=referred, relevent=relevant, religous=religious,
    remeber=remember, rember=remember, responsability=responsibility, rythm=rhythm, shedule=schedule,
    scedule=schedule, sincerly=sincerely, speach=speech, sucess=success, succesful=successful,
    successfull=successful, togather=together, tounge=tongue, unfortunatly=unfortunately, usualy=usually,
    vaccum=vacuum, vehical=vehicle, visable=visible, wensday=Wednesday, wednsday=Wednesday, writting=writing,
    acheive=achieve, accross=across, agian=again, apparantly=apparently, apreciate=appreciate,
    appriciate=appreciate, availible=available, avaliable=available, oppurtunity=opportunity, thankyou=thank you,
    should of=should have, could of=could have, would of=would have, must of=must have, might of=might have,
    more then=more than, less then=less than, rather then=rather than, better then=better than
    """
)

# Without their apostrophes none of these is another English word that people write.
APOSTROPHES: Final = _table(
    """
    dont=don't, doesnt=doesn't, didnt=didn't, cant=can't, wont=won't, isnt=isn't, arent=aren't, wasnt=wasn't,
    werent=weren't, havent=haven't, hasnt=hasn't, hadnt=hadn't, couldnt=couldn't, wouldnt=wouldn't,
    shouldnt=shouldn't, im=I'm, ive=I've, youre=you're, theyre=they're, weve=we've, youve=you've, theyve=they've,
    thats=that's, whats=what's, heres=here's, theres=there's, youll=you'll, theyll=they'll, itll=it'll,
    its been=it's been, its going=it's going, its not=it's not, its a=it's a, its the=it's the, its so=it's so,
    its too=it's too, its ok=it's OK, its okay=it's okay, its gonna=it's gonna
    """
)

# What people type to save time, where it has one meaning.
SHORTHAND: Final = _table(
    """
    u=you, r u=are you, u r=you are, pls=please, plz=please, thx=thanks, thnx=thanks, tmrw=tomorrow, tmr=tomorrow,
    tmw=tomorrow, ppl=people, cuz=because, coz=because, msg=message, abt=about, rn=right now,
    ur welcome=you're welcome, ur right=you're right, ur going=you're going, ur coming=you're coming,
    ur late=you're late, ur not=you're not, sry=sorry, srry=sorry, soz=sorry, np=no problem, nvm=never mind, tho=though,
    ofc=of course, rly=really, smth=something, prolly=probably, tonite=tonight, wknd=weekend, bday=birthday,
    appt=appointment, c u=see you, c ya=see you, cya=see you
    """
)

# The rest of the chat's own words, for a draft that leaves the chat.
SLANG: Final = _table(
    """
    gonna=going to, wanna=want to, gotta=have to, kinda=somewhat, sorta=somewhat, lemme=let me, gimme=give me,
    gotcha=understood, yeah=yes, yep=yes, yup=yes, nope=no, nah=no, asap=as soon as possible,
    fyi=for your information, btw=by the way, imo=in my opinion, imho=in my opinion, tbh=to be honest,
    lmk=let me know, ty=thank you, thanks a bunch=thank you, thanks a lot=thank you, ngl=frankly, see ya=see you,
    ttyl=talk to you later, brb=I will be right back, omw=I am on my way, gotta go=have to go, you guys=all of you,
    a bunch of=several, no worries=no problem, 'cause=because, wfh=working from home, afaik=as far as I know,
    iirc=if I remember correctly
    """
)

# Longer than what they say.
WORDY: Final = _table(
    """
    in order to=to, so as to=to, due to the fact that=because, owing to the fact that=because, in the event that=if,
    at this point in time=now, at the present time=now, at the present moment=now, with regard to=about,
    with regards to=about, in regard to=about, in regards to=about, with respect to=about, the majority of=most,
    a large number of=many, a small number of=a few, in spite of the fact that=although, despite the fact that=although,
    for the purpose of=for, has the ability to=can, have the ability to=can, is able to=can, are able to=can,
    am able to=can, make a decision=decide, make a decision on=decide on, come to the conclusion that=conclude that,
    each and every=every, until such time as=until, on a daily basis=daily, on a weekly basis=weekly,
    on a monthly basis=monthly, on a regular basis=regularly, prior to=before, subsequent to=after,
    whether or not=whether, first and foremost=first, end result=result, in close proximity to=near,
    take into consideration=consider, is in need of=needs, are in need of=need, give me a call=call me,
    send me an email=email me, at some point in the future=later, for the time being=for now,
    in the near future=soon, by means of=by, as of right now=now, right at this moment=now
    """
)

# Words for which "a a" or "the the" is a slip; "that that", "had had" and "very very" are not.
DOUBLED: Final = (
    "the a an to of in on at is are was were and or for with from by i you we they he she it my your our this will be "
    "have can if as not me us but so"
).replace(" ", "|")

# Capitals within a sentence.
NAMES: Final = (
    "monday tuesday wednesday thursday friday saturday sunday january february april june july september october "
    "november december english german french spanish italian european american british christmas easter"
).replace(" ", "|")

# Words that people put in capitals to raise their voice.
RAISED: Final = (
    "urgent now never always please not very really must all stop wait no yes today immediately everyone anyone again "
    "need important any so much still before tomorrow"
).replace(" ", "|")

# A capital at the start of a sentence would be wrong for these.
LOWER: Final = frozenset({"iphone", "ipad", "ios", "macos", "ebay", "itunes", "icloud", "imessage"})

# A dot after these ends no sentence.
ABBREVIATIONS: Final = frozenset({"etc", "vs", "approx", "ca", "inc", "ltd", "st", "mr", "mrs", "dr"})

ACRONYMS: Final = frozenset(
    """
    I API APIS PDF URL USA UK EU UN CEO CFO CTO HR FAQ PR QA UI UX ID ASAP FYI RSVP DIY GPS SIM USB WIFI TV PC PIN NASA
    NHS VAT AM PM OK SQL HTML CSS JSON HTTP HTTPS SSH DNS VPN
    """.split()  # noqa: SIM905 (a list of words reads as one)
)
