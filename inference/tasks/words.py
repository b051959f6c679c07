"""The words of the rules of writing. Each table holds only what is wrong, or loose, in nearly every place it stands in.

Left out on purpose, since they may also be right: were, well, ill, its, your, wether, loosing, sat, may, march, polish.
"""

from typing import Final

from inference.tasks.edits import table

SPELLING: Final = table(
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
    embarassing=embarrassing, existance=existence, familar=familiar, finaly=finally, foriegn=foreign, greatful=grateful,
    guarentee=guarantee, happend=happened, immediatly=immediately, independant=independent, intresting=interesting,
    knowlege=knowledge, libary=library, maintainance=maintenance, noticable=noticeable, occassion=occasion,
    occasionaly=occasionally, peice=piece, posession=possession, prefered=preferred, probaly=probably, probly=probably,
    realy=really, refered=referred, relevent=relevant, religous=religious, remeber=remember, rember=remember,
    responsability=responsibility, rythm=rhythm, shedule=schedule, scedule=schedule, sincerly=sincerely, speach=speech,
    sucess=success, succesful=successful, successfull=successful, togather=together, tounge=tongue,
    unfortunatly=unfortunately, usualy=usually, vaccum=vacuum, vehical=vehicle, visable=visible, wensday=Wednesday,
    wednsday=Wednesday, writting=writing, acheive=achieve, accross=across, agian=again, apparantly=apparently,
    apreciate=appreciate, appriciate=appreciate, availible=available, avaliable=available, oppurtunity=opportunity,
    thankyou=thank you, allready=already, payed=paid, febuary=February, tomoro=tomorrow, reschedual=reschedule,
    its to late=it's too late, its to early=it's too early, its to much=it's too much, is it to late=is it too late,
    is it to early=is it too early, i'd of=I'd have, you'd of=you'd have, he'd of=he'd have, she'd of=she'd have,
    we'd of=we'd have, they'd of=they'd have
    """
)

# Without their apostrophes none of these is another English word that people write.
APOSTROPHES: Final = table(
    """
    dont=don't, doesnt=doesn't, didnt=didn't, cant=can't, wont=won't, isnt=isn't, arent=aren't, wasnt=wasn't,
    werent=weren't, havent=haven't, hasnt=hasn't, hadnt=hadn't, couldnt=couldn't, wouldnt=wouldn't, shouldnt=shouldn't,
    im=I'm, ive=I've, youre=you're, theyre=they're, weve=we've, youve=you've, theyve=they've, thats=that's,
    whats=what's, heres=here's, theres=there's, youll=you'll, theyll=they'll, itll=it'll, whos=who's, wheres=where's,
    hes=he's, shes=she's, theyd=they'd, youd=you'd, childrens=children's, its been=it's been, its going=it's going,
    its not=it's not, its a=it's a, its the=it's the, its so=it's so, its too=it's too, its ok=it's OK,
    its okay=it's okay, its gonna=it's gonna
    """
)

# Longer than what they say.
WORDY: Final = table(
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
    "have can if as not me us but"
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
