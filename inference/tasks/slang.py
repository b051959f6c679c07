"""The short forms of chats, each with the one thing that it means; what may mean two things is left out.

Left out on purpose: atm, bf, cos, def, eve, gf, k, nth, sb, sec, tba, wen, ya, yr, and ur before most words.
"""

from typing import Final

from inference.tasks.edits import table

_YOUR: Final = (
    "own mum mom dad name house place phone car turn birthday bday number address email room job kids dog cat friend "
    "friends message stuff bag keys order ticket tickets"
)
_YOU_ARE: Final = (
    "welcome right wrong going coming late not gonna free here so too doing getting kidding joking sure ok okay ready "
    "the a an my on in always never still"
)

SHORTHAND: Final = (
    table(
        """
    u=you, r u=are you, u r=you are, pls=please, plz=please, plss=please, pleez=please, thx=thanks, thnx=thanks,
    thanx=thanks, tnx=thanks, thks=thanks, tmrw=tomorrow, tmr=tomorrow, tmw=tomorrow, tmrrw=tomorrow, tomoz=tomorrow,
    tmrw morn=tomorrow morning, tonite=tonight, nite=night, nites=nights, wknd=weekend, wkend=weekend, wknds=weekends,
    wk=week, wks=weeks, bday=birthday, bdays=birthdays, appt=appointment, appts=appointments, ppl=people, cuz=because,
    coz=because, bcuz=because, bcz=because, becuz=because, bcoz=because, bcos=because, b/c=because, cos of=because of,
    w/=with, w/o=without, msg=message, msgs=messages, txt=text, txts=texts, txted=texted, abt=about, rn=right now,
    sry=sorry, srry=sorry, soz=sorry, np=no problem, no probs=no problem, nvm=never mind, tho=though, altho=although,
    ofc=of course, rly=really, rlly=really, prolly=probably, prob not=probably not, smth=something, sth=something,
    sumthing=something, sumthin=something, somethin=something, anythin=anything, everythin=everything, nothin=nothing,
    nuthin=nothing, nuffin=nothing, evry=every, evrything=everything, evryone=everyone, evrybody=everybody, wat=what,
    wut=what, wot=what, wats=what's, wots=what's, wud=would, cud=could, shud=should, wudnt=wouldn't, cudnt=couldn't,
    shudnt=shouldn't, shoulda=should have, coulda=could have, woulda=would have, musta=must have, mighta=might have,
    hav=have, dnt=don't, luv=love, gud=good, c u=see you, c ya=see you, cya=see you, tysm=thank you so much,
    tyvm=thank you very much, kk=okay, okies=okay, congratz=congrats, grats=congratulations, goin=going, doin=doing,
    comin=coming, gettin=getting, lookin=looking, bein=being, makin=making, talkin=talking, workin=working,
    watchin=watching, waitin=waiting, feelin=feeling, thinkin=thinking, sayin=saying, tryin=trying, havin=having,
    playin=playing, leavin=leaving, startin=starting, eatin=eating, sleepin=sleeping, livin=living, takin=taking,
    askin=asking, runnin=running, sittin=sitting
    """
    )
    | {f"ur {word}": f"your {word}" for word in _YOUR.split()}
    | {f"ur {word}": f"you're {word}" for word in _YOU_ARE.split()}
)
"""What people type to save time, or as it sounds: put right by proofreading."""

SLANG: Final = table(
    """
    gonna=going to, wanna=want to, gotta=have to, kinda=somewhat, sorta=somewhat, lemme=let me, gimme=give me,
    ty=thank you, gotcha=understood, yeah=yes, yea=yes, yep=yes, yup=yes, nope=no, nah=no, asap=as soon as possible,
    fyi=for your information, btw=by the way, imo=in my opinion, imho=in my opinion, tbh=to be honest, tbf=to be fair,
    lmk=let me know, thanks a bunch=thank you, thanks a lot=thank you, ngl=frankly, see ya=see you,
    ttyl=talk to you later, brb=I will be right back, omw=I am on my way, gtg=I have to go, gotta go=have to go,
    you guys=all of you, y'all=all of you, a bunch of=several, no worries=no problem, 'cause=because,
    wfh=working from home, afaik=as far as I know, iirc=if I remember correctly, fwiw=for what it is worth,
    irl=in person, ikr=I agree, jk=I was joking, yw=you are welcome, hbu=how about you, wbu=what about you,
    wyd=what are you doing, hmu=contact me, nbd=no trouble, idc=I do not mind, defo=definitely, deffo=definitely,
    obvs=obviously, obv=obviously, totes=totally, whatevs=whatever, convo=conversation, convos=conversations,
    peeps=people, hols=holidays, brekkie=breakfast, prezzie=present, prezzies=presents, cuppa=cup of tea, outta=out of
    """
)
"""The rest of the chat's own words, for a draft that leaves the chat."""
