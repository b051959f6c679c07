"""German, as chats write it: with ae for ä, without endings ("ich bring"), without question marks."""

from typing import Final

from inference.engine.tongues.phrasebook import Tongue

TONGUE: Final = Tongue(
    code="de",
    common="""
        aber alle alles als also am an auch auf aus bei beim bin bis bist bitte da dann das dass dein dem den der des
        dich die diese dir doch du ein eine einem einen einer er es etwas euch fuer für ganz gar geht gerade gibt gut
        hab habe haben hast hat hier ich ihr im immer in ins ist ja jetzt kann kannst kein keine keinen klar können
        könnt leider mach machen macht mal man mehr mein meine mich mir mit morgen muss müssen nach nein nicht nichts
        noch nochmal nun nur ob oder ohne schon sehr sein sich sie sind so soll sonst über um und uns unser unter viel
        vom von vor war warum was weg weil weiß wenn wer wie wieder will wir wird wo wollen zu zum zur
    """,
    numbers="""
        eins ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf zwanzig dreißig vierzig fünfzig hundert
        tausend
    """,
    openers="""
        aber ach achso ah ähm also hallo hey hi hm ja leute mal moin nein oh ok okay sag sagt sagtmal so übrigens und
    """,
    lists={
        "deed": """
            back backe besorg besorge bestell bestelle bring bringe buch buche druck drucke fahr fahre frag frage
            geb gebe guck gucke helf helfe hol hole kauf kaufe klär kläre koch koche kümmer kümmere leg lege leih
            leihe mach mache meld melde nehm nehme pack packe prüf prüfe räum räume regel regle reservier reserviere
            ruf rufe schau schaue schick schicke schreib schreibe spende stell stelle trag trage übernehm übernehme
            überweis überweise zahl zahle
        """,
        "doing": """
            abholen anbieten aushelfen backen besorgen bringen einspringen fahren fragen helfen holen kaufen kochen
            leihen machen mitbringen mitnehmen nehmen schauen übernehmen
        """,
        "settle": """
            bestellen bleiben buchen essen fahren feiern gehen kaufen legen machen nehmen starten teilen treffen
            zahlen
        """,
        "month": """
            april aug august dez dezember feb februar jan jänner januar juli juni mai märz nov november okt oktober
            sep sept september
        """,
        "venue": """
            apotheke arbeit aula bad bahnhof bank bar baumarkt bibliothek brücke büro bushaltestelle cafe café ecke
            eingang etage firma flughafen freibad garage garten gemeindehaus gleis hafen halle hallenbad haltestelle
            hauptbahnhof haus hbf hof hort hotel hütte innenstadt keller kindergarten kino kiosk kirche kita klinik
            kneipe krankenhaus küche kühlschrank laden lager lehrerzimmer lobby markt marktplatz mensa museum park
            parkplatz post praxis rathaus raum restaurant rezeption saal schrank schublade schule schuppen
            schwimmbad see sekretariat spielplatz sporthalle sportplatz stadion stadt str straße supermarkt
            tankstelle theater tiefgarage tor treppenhaus turm turnhalle uni verein vereinsheim wald werkstatt
            wohnung wohnzimmer zoo
        """,
        "counted": """
            anmeldungen autos becher betten brötchen brote cent dosen erwachsene eur euro familien flaschen gäste
            gramm karten kästen kilo kinder kisten kuchen leute liter mal mann meter packungen personen plätze
            portionen prozent räder schlafplätze seiten stimmen stück stühle teilnehmer teller tickets tische tüten
            zimmer
        """,
        "you": """
            das der die dir du eigentlich einer er es euch ihr irgendjemand irgendwer jemand man noch sie wer wir
        """,
        "is": """
            bist brauchst braucht bringst bringt darf dürfen fährst fahrt fährt geht gibt haben habt hast hat ist
            kann kannst kommst kommt können könnt machst macht muss müssen nehmt nimmst nimmt passt reicht seid sind
            soll sollen sollte sollten war weiß weisst will willst wird wisst wollen wollt
        """,
    },
    decision="""
        abgabe*, abgelehnt, abgemacht, abgestimmt, abstimmung, also <settle> wir, angemeldet, anmeldeschluss,
        ausgemacht, beauftragt, beschlossen, bestätigt, bestellt, bezahlt, bleiben bei, bleibt dabei, bleibt's bei,
        dann <settle> wir, dann mach|nehm|treff ma, dann um|am|im|in|bis #, deadline, die mehrheit, eingestellt,
        eingetragen, einigen wir uns, entschieden, erlaubt, es bleibt bei, festgelegt, fix $, frist, gebucht, geeinigt,
        gekauft, gemietet, genehmigt, ist fix, lass|lasst uns, machen wir $, machen wir so, machen wirs, nehmen wir,
        pflicht $, reserviert, so machen wir, spätestens, steht der termin, steht|stehen fest, stichtag,
        treffen wir uns, treffpunkt, unterschrieben, verboten, vereinbart, wir <settle>, zugesagt
    """,
    promise="""
        ^ <deed>, <deed> ich|ichs, bin dabei, bin dann da, erledige ich, geht auf mich, ich <deed>, ich bin dran,
        ich erledig*, ich kann|könnte .. <doing>, ich werde|werd, ich würde .. übernehmen,
        ^ kann .. mitbringen|abholen|übernehmen|besorgen|mitnehmen, kann|könnte ich .. <doing>, mach ich,
        verlass dich|euch, verlasst euch, versprech*, versprochen, werde|werd ich, wird erledigt
    """,
    request="""
        achtet auf, bescheid sagen|geben, bitte, brauche|brauch|brauchen|braucht|bräuchte|bräuchten, daran denken,
        darf|dürfen .. nicht, denk|denkt|denke .. dran|daran, dran denken, eintragen, erinner*, gesucht $, haltet euch,
        kannst|könntest|kann|könnte|würdest|würde|magst|willst du|jemand|einer|bitte|wer|mir|uns|man,
        könnt|könntet|mögt ihr, lasst .. stehen|liegen, melde dich, meldet euch, mitbringen $, mitzubringen,
        muss man|jemand|einer|noch|bis|vorher, müssen|müsst|musst|müssten wir|ihr|du|alle, nicht vergessen, passt auf,
        sag|sagt|gib|gebt .. bescheid, schick|schickt|gib|gebt|bring|bringt|zeig mir|uns|mal|bitte,
        soll|sollen|sollt|sollte|sollten, sucht|suche|suchen wir, trag dich, tragt euch,
        vergiss|vergesst|vergesse|vergessen .. nicht,
        wer kann|könnte|bringt|macht|hat|kommt|fährt|holt|übernimmt|hilft|will|mag|nimmt,
        wir|ihr|man|du|jemand|einer|alle müssen|müsst|muss|musst|müsste|müssten
    """,
    question="""
        ^ <is> <you>, ab wann, bis wann, fragt sich, hat jemand|wer|einer, ist noch offen, noch unklar, seit wann,
        soll|darf|muss|brauch ich, um wieviel uhr, was kostet, weiß|weiss jemand|wer|einer,
        ^ welche|welchen|welcher|welches|wievielte|wofür|womit|wozu,
        ^ wer|wem|wen|wann|wo|wohin|woher|wie|wieviel|was|warum|wieso|weshalb, wie lange, wie viel, wie viele,
        wie weit, wieviele, wissen wir schon
    """,
    problem="""
        abgebrochen, achtung, allergi*, ärger, ausfall, ausgebucht, ausgefallen, ausverkauft, beschwerde*, beschwert*,
        defekt*, dringend, fallen aus, fällt aus, fehlt|fehlen, fieber, funktionieren .. nicht, funktioniert .. nicht,
        gebrochen, geht|gehen|klappt|läuft .. nicht, geklaut, gekündigt, geschlossen, gesperrt, gestohlen,
        ich kann|könnte .. nicht, kann ich .. nicht, kann|können .. nicht .. kommen|mit|dabei, kaputt,
        kein strom|wasser|internet|empfang|platz|geld|zeit|plan|licht, keine zeit|plätze|heizung, krank, krankenhaus,
        leider, notarzt, notfall, problem|probleme|probs, rohrbruch, schaff .. nicht, schaffe .. nicht,
        schaffen .. nicht, schimmel*, stau, störung|störungen, stromausfall, undicht, unfall, vergessen, verletzt,
        verletzung*, verloren, verspät*, verstopft, vorsicht, warnung, wasserschaden, weg $, zu spät, zu wenig|wenige
    """,
    time="""
        # bis # uhr, # ct, # minuten|min|stunden|std|h, # uhr, # vor|nach #, abends, ab|bis # uhr,
        am abend|nachmittag|vormittag|morgen, gegen #, gegen|ab|bis|kurz vor|nach|seit|zwischen # uhr, halb #,
        halbe stunde, heute früh|morgen|abend|nacht|nachmittag|mittag|vormittag,
        in # minuten|min|stunden|std|tagen|wochen|monaten|jahren,
        in einer|einem|ner halben|stunde|woche|monat|jahr|viertelstunde, mittag, mittags, mitternacht, morgens,
        nach der schule|arbeit, nachher, nachmittag, nachmittags, nachts, punkt #, so um #, um #, um halb|viertel #,
        um viertel vor|nach #, viertel vor|nach #, viertel|dreiviertel #, von # bis #, vormittags
    """,
    date="""
        # <month>, # tage|tagen|wochen|nächte, am #, am mo|di|mi|do|fr|sa|so, am wochenende,
        anfang|mitte|ende <month>|der|des|nächster|monat, april, august, dezember, dienstag*, donnerstag*, februar,
        freitag*, heut, heute, in den ferien, januar, juli, juni, maerz, mai, märz, mittwoch*, montag*, morgen,
        mo|di|mi|do|fr|sa|so um|ab|früh|abend|#,
        nächst*|kommende*|diese|dieses|übernächst* woche|wochenende|monat|jahr|we|mal, november, oktober, samstag*,
        september, sonnabend*, sonntag*, übermorgen, wochenende
    """,
    place="""
        # stock|og|etage|stockwerk, adresse, am|im|beim|zum|vom|vorm|hinterm <venue>, bei der|dem|den *,
        bei mir|dir|uns|euch|ihm|ihr|ihnen, daheim,
        gleis|raum|zimmer|halle|tor|gate|stock|etage|tisch|haus|saal|platz #,
        in|an|vor|von|hinter|neben|aus der|die <venue>, *straße|*strasse, *straße|*strasse|*gasse|*platz|*allee|*weg #,
        treffen .. am|im|bei|vor|in, treffpunkt, zu hause, zuhause
    """,
    amount="""
        # <counted>, # pro person|kind|nase|kopf|tag|nacht|stunde|monat|familie|stück, # von #, anzahlung,
        für # leute|personen|kinder, gratis, kaution, kostenlos, kostet|kosten, pro person|kind|nase|kopf|familie,
        sind wir #, umsonst, wir sind #, zu zweit|dritt|viert|fünft|sechst|siebt|acht
    """,
    change="""
        abgesagt, absagen, ändert sich, änderung*, anstatt, anstelle, auf # verschoben,
        doch nicht|erst|schon|lieber|um|am|im|bei|auf, eine stunde später|früher, ersatz*, fallen aus, fällt aus|flach,
        früher als|anfangen, geändert, korrektur, neue uhrzeit|adresse|zeit, neuer termin|treffpunkt|plan, nicht #,
        nicht am|im|bei, nicht mehr, nicht um #, planänderung, sagt|sagen|sage|sag .. ab, sondern, später|früher als,
        statt, stattdessen, stornier*, storniert, tauschen|tausche|getauscht|tauscht, umbuchen, umgebucht, umgezogen,
        verlegen, verlegt, verschieb*, verschoben, vertretung, vertritt, vorverlegt
    """,
    negation="kein*, ne, nee, nein, nicht, nichts, nie, niemals, niemand, nix, nö, ohne",
    agreement="""
        abgemacht, alles klar, auf jeden, auf jeden fall, aufjeden, bin dabei, dabei, deal, dito, einverstanden,
        erledigt, fein, find ich gut, gebongt, geht, geht klar, gekauft, genau, gern, gerne, gut, gute idee, ich auch,
        in ordnung, ja, ja gern|gerne, jap, jawohl, jep, jo, joa, jupp, klar, klaro, läuft, mega, natürlich, ok, okay,
        oke, okey, oki, passt, passt für mich, passt mir, passt so, perfekt, prima, sehr gut, stimmt, super, top
    """,
    greeting="""
        allen, alles gute, bis dann|morgen|später|gleich|bald, ciao, euch, glückwunsch, gn8, grüezi, grüß dich|euch,
        grüß gott, gute besserung, gute nacht, guten morgen|tag|abend, hallo, hej, herzlichen glückwunsch, hey, hi,
        ihr lieben, leute, lg, liebe grüße, mfg, moin, na du, na ihr,
        schönen tag|abend|urlaub|feierabend|sonntag|samstag|freitag, schönes wochenende, servus, tschüss, tschüß, vg,
        viel glück, viel spaß, viele grüße, wie geht es dir|euch, wie geht's, wie gehts, zusammen
    """,
    thanks="""
        besten dank, dank dir|euch, danke, danke dir|euch|schön, dankeschön, lieben dank, merci, tausend dank,
        vielen dank
    """,
    laughter="haha, hehe, hihi, lmao, lol, rofl, xd",
    filler="""
        aber, ach, achso, ah, aha, alter, bitte schön, bitte sehr, cool, das, der, die, digga, echt, echt jetzt, egal,
        geil, gern geschehen, gute frage, hm, ist, ja ja, ka, kein ding, kein problem, keine ahnung, kp, krass, lecker,
        lustig, mann, mega, na dann, naja, nee, nein, nice, oh, oh nein, ohje, oje, omg, puh, same, schade, schön,
        sehr, sind, so, süß, tja, toll, total, uff, ui, und, ups, voll, was, wirklich, wow
    """,
    idiom="""
        am besten, am ende, am liebsten, bis morgen, bitte schön, bitte sehr, ein|eine|einen, gar nicht,
        geht gar nicht, geht's noch, guten morgen, ich frag mich, ich frage mich, ich glaub|glaube,
        ich kauf|kaufe nie|nichts|nix, ich komm nicht klar, ich komm|komme nicht, ich mach mich, ich mach nur,
        im prinzip, kann ja nicht sein, kann man nix, kein problem, kein stress, keine probleme, komme ich nicht klar,
        morgen zusammen|leute|alle $, muss ich sagen, muss lachen, noch nicht, ohne probleme, schau mal, so um,
        soll das heißen, tut mir leid, um die wette, um ehrlich, was du, was ein|eine, was für ein|eine|n, was ich,
        was man, was soll's, wer weiß, wie du|ihr|der|die|ich|wir|in|auf|bei|war|ein|eine,
        wie geil|schön|süß|cool|toll|krass|lustig|nett|lieb, wie gesagt, wie immer, zum glück
    """,
)
