"""English, as chats write it: without apostrophes, capitals or question marks."""

from typing import Final

from inference.engine.tongues.phrasebook import Tongue

TONGUE: Final = Tongue(
    code="en",
    common="""
        a about after again all already also always am an and another any anyone are around as ask at away back be
        because been before being best better big bit both bring but by call came can can't cant car care come coming
        could couldn't day did didn't do does doesn't doesnt doing don't done dont down each else even ever every
        everyone find first for found from get gets getting give go goes going gone gonna good got gotta great guys
        had has have haven't having he help her here him his home house how i i'd i'll i'm i've if in into is isn't it
        it's its just keep kids know last left let let's like little long look lot make makes man many maybe me mean
        might mine more morning most much mum must my need needs never new next nice night no not nothing now of off
        old on once one only or other our out over own people please put quite rather really right same saw say says
        see seen send she should show since so some someone something soon sorry still stop sure take than thanks that
        that's thats the their them then there there's these they they're thing things think this those though thought
        time to today together told tomorrow tonight too took try two under until up us use used very wait want wants
        was wasn't way we we'll we're we've week well went were what what's when where which while who whole why will
        with won't work works would year yes yet you you'll you're you've your
    """,
    numbers="one two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty fifty hundred",
    openers="""
        actually all also and anyway btw but everyone folks guys hello hey hi just lol oh ok okay quick right so team
        then wait well
    """,
    lists={
        "deed": """
            ask bake be book bring buy call check collect come cook cover do drive drop email fix get give grab
            handle help host lend let lift look make order organise organize pay pick pop post prepare print reserve
            review run send set share sort swap take text try write
        """,
        "doing": """
            baking booking bringing buying cooking covering doing driving getting handling hosting making ordering
            paying picking reviewing sending taking
        """,
        "near": "at behind by from in inside near on opposite outside through to under",
        "venue": """
            airport apartment bank bar barn basement beach bench bin bins bridge cabinet cafe café campus canteen
            center centre church cinema classroom clinic corner courtyard cupboard desk door drawer entrance field
            flat freezer fridge garage garden gate gym hall harbor harbour hospital hotel house kitchen landing
            library lobby locker loft mall market museum office park pharmacy pier playground pool porch pub quay
            reception restaurant roof school shed shelf square stadium stairwell station studio supermarket table
            terrace theater theatre university van yard
        """,
        "counted": """
            adults bags bedrooms beds bottles boxes bucks cars cents chairs children copies crates cups dollar
            dollars eur euro euros gbp grams grand guests k keys kg kids kilo kilos km liters litres loaves meters
            metres miles of p packs pages pence people percent persons pizzas places plates players portions pound
            pounds quid rooms rupees seats sets slots spaces tables tents ticket tickets trays usd votes
        """,
        "month": """
            apr april aug august dec december feb february jan january jul july jun june mar march may nov november
            oct october sep sept september
        """,
        "day": "friday monday noon saturday sunday thursday tuesday wednesday",
        "is": "are can could did do does has have is shall should was were will would",
        "you": "anybody anyone everybody everyone somebody someone u we you",
    },
    decision="""
        # it is, agreed to|on|that, all sorted|booked|set, approved, as long as you, be there at|by|for, booked,
        bought, chosen, confirmed, deadline, decided, due on|by|date|tomorrow|today|at, elected,
        final answer|decision|version|call|date|plan, finalised, finalized, go for it, going|go|went with|ahead,
        has|have to be, hired, i confirm, is on $, is|are allowed|banned|mandatory|compulsory, it's going ahead,
        it's|that's|its|thats off|sorted|decided|final|happening|settled|official|done, kick off, leave|leaving at|by,
        let's|lets *, majority, make it|that #, make it|that noon|<day>, meet at|by|in|outside|on|there,
        meeting at|by|in|outside|on, merged, no longer allowed, noon|<day> it is, not allowed, ordered, paid, plan is,
        rescheduled, reserved, rule is|says|rules say|are, scheduled, settled, shipped, sign off, signed, signed off,
        sorted, starts|start at|on, submitted, the plan, vote is|was, voted,
        we are doing|having|meeting|leaving|getting|taking|keeping, we are going to, we should, we will *,
        we won|chose|picked|got|voted|agreed, we'll *, we're doing|having|meeting|leaving|getting|taking|keeping,
        we're going to|ahead, we're|were gonna
    """,
    promise="""
        ^ <doing> *, bagsy, count me in, dibs, ^ gonna *, happy to <deed>, i am <doing>, i am going to,
        i bring|bake|book|pay|order|print|organise|organize|prepare|reserve|cook|send,
        i can|could also|probably|easily|just|<deed>, i do|make the|a, i got this, i pick up, i promise,
        i take care|the, i volunteer, i will *, i'll, i'll|ill *, i'm|im <doing>, i'm|im going to, i'm|im gonna,
        i'm|im happy to, i'm|im in $, i'm|im on it, i've got this, imma *, leave it|that to|with me, my treat, on it $,
        on me $, ^ will <deed>, will do
    """,
    request="""
        anyone able|free|got|have|has|want|wants|know|up|around, asap, be sure, can|could|would|will <you>,
        don't|dont|do not forget, don't|dont|do not leave|touch|park|use|let|tell|open|bring|be|put|mention|say,
        fill in|out, got to, gotta, if you can|could, i|we|you|they need *, let me|us know, looking for, make sure,
        must, needs|need to, no parking, owe|owes me|you|us, pay by, please, pls, plz, remember *,
        remember|remind|sure to, remind *, reply by, required $, rsvp,
        send|bring|give|tell|text|call|email|pay|show|lend|remind|dm|ping me|us, sign up,
        someone|somebody|you|one|everyone should|must|has|needs *, wanted $, we|you|i owe,
        who can|could|is|has|wants|will|brings, you|we|i|everyone|they|he|she have|has|had|gotta to
    """,
    question="""
        ^ <is> <you>|i|they|he|she|it|there|this|that|the, any idea|ideas|chance|objections,
        ^ any idea|ideas|news|update|updates|thoughts|suggestions|chance|objections|luck,
        ^ anyone|anybody know|want|have|got|up|free|else|seen|in, do we know|need, how about,
        ^ how much|many|about|long|far|big|come, no idea if|when|who|where|what,
        not sure if|when|who|where|what|whether, shall we, still unclear|unknown|open|undecided, tba, tbc, tbd,
        what about, what if, ^ what time|size|day|colour|color|way|else|the|if|we,
        ^ what|which|who|how time|one|size|day|much|many, ^ when|where we|the|else,
        which day|time|one|ones|size|way|is|of, ^ who brings|wants|needs|knows|got|else|wants|made|took|left|gets,
        ^ who's|what's|whats|where's|wheres|when's|how's|whose|wheres *, ^ who|what|when|where|why|how <is>
    """,
    problem="""
        a problem, accident, allerg*, behind schedule, blocked, broke, broken, burnt,
        can't|cant|cannot|couldn't make|come|go|do|find|get|open|reach|attend|join|log|access|be|eat|have|stay|use,
        careful, clash, clashes, closed, cold sore, complain*, complaint*, cracked, crash*, cut off, damaged, damp,
        danger*, delay, delayed, delays, died, doesn't|doesnt|don't|isn't|not|stopped|didn't work|working,
        double booked, double-booked, emergency, error, errors, expired, expires, fail, failed, failing, fails,
        failure, faulty, fever, flood, flooded, forgot, forgotten, hospital, hurt, injured,
        is|are|was|be|went|running|gone down|late|wrong|ill|off, jammed, leak*, lost, missing, mold, mould,
        no power|water|internet|heating|signal|space|room|key|keys, not enough, not going to make|work|fit|come|be,
        not well, nut allergy, out of order|stock|range|date|action, outage, overdue, poorly, power cut,
        problem|issue|bug with|is|in, ran|sold|running|run out, ripped, short of, sick, sprained, stolen, stuck,
        threw up, too late|small|big|expensive|few, torn, twisted, unfortunately, unwell, urgent, vomiting, warning,
        weird|strange noise|smell, won't|wont make|be|work|fit|come|start|open, wrong size|date|day|time|one
    """,
    time="""
        # ish|am|pm|o'clock|oclock|sharp, # mins|min|minutes|hours|hrs, # past|to #, # to|till|until #,
        after school|work|lunch|dinner|class, at|by|around|until|till|before|after|from|between|about #,
        before school|work|lunch|dinner|class, eod, eow, half #, half an hour, half|quarter past|to|#,
        in|within # min|mins|minutes|hour|hours|hrs|days|weeks|months,
        in|within an|a|half hour|an|minute|few|week|month, lunchtime, midday, midnight, noon, quarter past|to #,
        this|tomorrow|in the|next|the following morning|afternoon|evening, tonight
    """,
    date="""
        # <month>, # days|weeks|nights, # of <month>, <month> #, april, at the weekend, august, bank holiday,
        christmas|easter|new year's eve, december,
        end|start|beginning|middle of the|next|this|term|month|week|year|<month>, february, fortnight, friday*,
        half term, in the week, january, july, june, monday*,
        mon|tue|wed|thu|fri|sat|sun at|am|pm|morning|night|evening|afternoon|#,
        next|this|the following week|weekend|month|year|term, november, october,
        on|this|next|by|until|from mon|tue|wed|thu|fri|sat|sun, saturday*, september, sunday*, thur, thurs, thursday*,
        tmo, tmr, tmrw, tmw, today, tomorrow, tues, tuesday*, wednesday*, weds
    """,
    place="""
        # * street|st|road|rd|avenue|ave|lane|drive|boulevard|blvd|court|close, # floor, # st|nd|rd|th floor,
        <near> the|my|your|our|a|his|her|their .. <venue>, address, aisle|bay|exit|gate|no|number|platform|terminal #,
        apartment|apt|building|door|flat|floor|hall|house|room|suite|table|unit #, at home, at mine, at yours,
        at|to *'s, at|to|from my|your|our|his|her|their|mum's|dad's place|house|flat|parents, bus stop, car park,
        come round|over|to mine|yours, meet at|in|by|outside|near|there, meeting point, parking lot, pick up point,
        pickup point, under the mat|stairs|sink
    """,
    amount="""
        # <counted>, # each, # left, # of us|them|you, # per person|head|night|child|month|week|hour, # x *, a dozen,
        a fiver, a tenner, between the # of, budget, costs|cost, couple of, deposit, fiver, for free, free of charge,
        half price, per person|head|night|child, refund, split # ways, split it,
        table|room|party|seats|seat|tickets for #, tenner, there are # of, there|we are|will|now #, total is|of|comes,
        x #
    """,
    change="""
        ^ actually|correction|scratch|nvm|nevermind, are now, bring forward, brought forward, called off, cancel,
        canceled, cancelled, cancelling, cancels, change of plan|plans, changed, changes to, drop out, dropped out,
        dropping out, earlier than, got it wrong, i meant, i was wrong, instead, is now, it's|its|is off, later than,
        meant to say, mixed up, move it|to|the|this|that, moved to|it|the|from|that|this|back|up|forward|online,
        moving to|it, my mistake, never mind, new date|time|venue|place|plan|address|room|number, no longer, not # but,
        not coming|going|able, now at|on|in|#, plan changed, postpone, postponed, pulled out, push it|to|back,
        pushed back|to, rather than, replace*, reschedule, rescheduled, shifted, swap, swapped, swapping,
        switch|switched to|with, takes|taking over, update
    """,
    negation="""
        aren't, can't, cannot, cant, couldn't, didn't, didnt, doesn't, doesnt, don't, dont, hasn't, haven't, isn't,
        isnt, nah, never, no, nobody, none, nope, not, nothing, wasn't, without, won't, wont
    """,
    agreement="""
        absolutely, agreed, all good, alright, amazing, awesome, aye, brilliant, can do, certainly, cool, correct,
        count me in, deal, definitely, done, exactly, excellent, fab, fine, fine by|with ^ me $, good, good for me,
        good idea, good plan, got it, great, great idea, happy with that, i'm down, i'm in, im in, k, kk,
        let's do it|that, lovely, me, me too, nice, no problem, no worries, noted, np, of course, ok, okay, okie,
        on it, perfect, right, roger, same, same here, sounds good|great|perfect|fun|like a plan, suits me, sure,
        sure thing, that works, true, understood, will do, works for me|us, ya, ye, yeah, yep, yes, yess, yh, yup
    """,
    greeting="""
        all, both, bye, bye bye, congrats, congratulations, cya, evening, everybody, everyone, folks, get well soon,
        gm, gn, good luck, good morning|afternoon|evening|night, goodbye, guys,
        happy birthday|christmas|easter|anniversary, happy new year,
        have a good|nice|great|lovely day|one|time|weekend|evening|trip, have fun, hello, hey, heya, hi, hiya,
        hope you feel better, how are you all|doing|guys, how are you|u|things, how's everyone, how's it going,
        hows it going, ladies, lads, later, love you, merry christmas, miss you, morning, night, night night,
        nighty night, peeps, safe travels, see you|ya, see you|ya later|soon|tomorrow|there|then, sleep well, sup,
        sweet dreams, take care, team, ttyl, wassup, welcome, what's up, whats up, x, xxx, xoxo, xx, yo
    """,
    thanks="""
        appreciate it, appreciated, cheers, legend, lifesaver, many thanks, much appreciated, ta, thank u, thank you,
        thank you so much, thanks, thanks a lot|million|bunch, thanks again, thanks so much, thx, tx, ty, tysm,
        you're a star|legend|lifesaver
    """,
    laughter="""
        crying, dying, ha, haha, hahaha, hehe, i'm dead|crying|dying, im dead|crying|dying, lmao, lmfao, lol, rofl,
        roflmao, xd
    """,
    filler="""
        a, adorable, ah, and, any time, anytime, aw, aww, babe, beautiful, bless, bless her|him|you, bless you, bro,
        cute, dear, dude, dunno, fair, fair enough, for real, fr, funny, gorgeous, gosh, gutted, haha true, hilarious,
        hm, hmm, hooray, how cute|lovely|nice|funny|sweet, huh, hun, hurray, i don't know, i know right,
        i love it|this|that, idk, ikr, image|video|sticker|audio|gif|document|media omitted, is, it, jealous, love,
        love it|this|that, man, mate, mm, ngl, no idea, no rush, no way, not again, oh, oh dear, oh my god, oh no,
        omfg, omg, ooh, oops, phew, poor you|thing, really, right, seriously, so,
        so good|nice|cute|sweet|funny|cool|much, so true, sweet, tbh, that, the, this, too, ugh, uh, um, very, was,
        what, what a day|shame|legend|night|week|mess, whatever, who knows, whoops, woohoo, wow, wtf, yay, yikes,
        you're welcome, youre welcome
    """,
    idiom="""
        after all, are you kidding|serious|joking, at least, at one point, at the moment, by far, can't|cant wait,
        cant|can't believe|stop|even, don't panic, don't worry, dont worry, for one|real|once|the, from the,
        good morning|evening|afternoon, happy birthday, how are you|u|things,
        how cute|lovely|nice|funny|sweet|dare|rude, how's it going|everyone|life,
        i can imagine|see|tell|feel|hear|only|never|not, i can't even|believe, i have to say|admit,
        i know who|what|how|when|where, i must say|admit|be, i will be honest, i will never,
        i will say|admit|never|think|miss|love|die|cry, i'll be honest, i'll have to see|check,
        i'll|ill say|admit|never|think|miss|love|die|cry, i'm dead, i'm going to cry|die|scream, imma cry|die|scream,
        in a minute, in one, is it just me, let's|lets see|hope|be|face|say|not, lost it, make me, may be,
        must be|have, never say, no problem|problems, no way, not a problem, not again, oh no, one of,
        one of us|them|you|those|these|the|my|his|her|our, see you tomorrow, sick of, thank you, we are so,
        we will see, we'll be fine|ok|okay|good, we'll see, what a *, what's up, who cares, who knows, you can do it,
        you have to admit|laugh
    """,
)
