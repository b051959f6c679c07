"""Hindi, as chats write it: in Devanagari, and in Latin letters with every spelling that sounds right.

A verb's ending says who will do it ("karunga", "karenge", "karna"), so many entries are endings here.
"""

from typing import Final

from inference.engine.tongues.phrasebook import Tongue

TONGUE: Final = Tongue(
    code="hi",
    common="""
        aa aap aapka aapke aapko ab abhi accha acha achha agar aise aur bahut bas bata bhai bhi bol chahiye de dekh di
        diya ek fir gaya gaye gayi haan hai hain hi ho hoga hogi hota hoti hu hua hue hui hum humko humne hun iska
        isko itna itni ja jab jaise ji jo ka kaise kar kare karke karna karo ke ki kiya ko koi kuch kyunki le lekin
        liye mai main mat mein mera mere meri mujhe na nahi nahin nai ne nhi par pata pe phir raha rahe rahi rha rhe
        rhi saath sab sabko se sirf tak tha the theek thi thik to toh tu tum tumhara tumko unka unki unko uska uske
        usko wahi waise wala wale wali wo woh ya yaar yahan yar ye yeh
        अच्छा अब अभी आप आपका एक और कर करना करो का कि की कुछ के को कोई गई गया गयी जी जो ठीक तक तुम तो था थी थे दिया दे
        दो नहीं ना ने पर फिर बहुत बेटा भी मत में मेरा मेरी मेरे मैं यह या ये रहा रही रहे लिए ले लेकिन लो वह वाला वाली
        वाले वो सब सबको साथ से हम हमारा हाँ ही है हैं हो
    """,
    numbers="""
        ek do teen tin char chaar paanch panch chhe chhah che saat sath aath aat nau das gyarah barah pandrah bees
        tees chalis pachas sau hazar hazaar lakh
        एक दो तीन चार पाँच पांच छह छः छे सात आठ नौ दस ग्यारह बारह पंद्रह बीस तीस चालीस पचास सौ हज़ार लाख
    """,
    openers="""
        accha acha achha are arey arre aur bhai ek fir guys haan han hello hi lekin ok okay par phir sunno suno to toh
        vaise waise ya yaar
        अच्छा अरे और तो पर फिर बेटा भाई या लेकिन वैसे सुनो हाँ
    """,
    lists={
        "deed": "bata bhej bol de dekh dila kar kha la laga le likh mangwa rakh ruk",
        "venue": """
            airport almari bank bazaar bazar building cafe canteen chowk classroom clinic college drawer dukan
            fridge gate ground hall hospital hostel hotel library lobby mall mandir market metro office park parking
            restaurant school society stand station terminal terrace
        """,
        "counted": """
            bacche bachche bande bottle bottles box boxes chairs copies crore dabbe gram guests hazaar hazar k kg
            kilo kursi lakh litre log logo logon mehmaan packet paise percent piece pieces plate plates rs rupay
            rupaye rupe rupee rupees rupiye sau seat seats ticket tickets का किलो पैकेट प्रतिशत प्लेट बच्चे में रुपए
            रुपये रूपये लाख लीटर लोग लोगों सौ हज़ार
        """,
        "month": """
            april aug august dec december feb february jan january july june march may nov november oct october sept
            september अक्टूबर अगस्त अप्रैल जनवरी जुलाई जून दिसंबर नवंबर फ़रवरी मई मार्च सितंबर
        """,
    },
    decision="""
        book kar|ho|kiya|kari|karli|karwa *, booked, booking ho|kar *, chalte hai|hain|h, confirm hai|kar|ho|kiya|hua,
        de diya|di, deadline, decide *, dekhte hai|hain $, done $, *enge, final hai|kar|karte|ho|kiya,
        fix hai|kar|karte|ho|kiya, ho gaya|gayi|gya|gyi, ho li, jaate hai|hain, kar diya|di|liya|li, kar li,
        karte hai|hain|h, khareed *, last date, le li, le liya|li|liye, majority, manzoor, mil gaya|gayi, mil li,
        milte hai|hain|h, *ne ka plan, nikalte hai|hain, ok done, order kar|kiya *, pakka, pakki, pay kar|kiya *,
        plan hai|ye, rakhte hai|hain|h, tay hai|ho|kiya|hua|kar, to phir|fir *, vote
        आख़िरी तारीख, कन्फर्म, कर दिया, कर दी, करते हैं, चलते हैं, तय, दे दिया, दे दी, पक्का, फाइनल, बुक, मंज़ूर,
        मिलते हैं, रखते हैं, ले लिया, ले ली, हो गई, हो गया, *ेंगे
    """,
    promise="""
        bhej|kar|de|le|bata|dekh|la deta|deti|leta|leti hu|hun|hoon, chinta mat, main hi *, main hu|hoon na,
        main|mai|mein|me .. *ta|*ti hu|hun|hoon|hoo, mera wada, mere pe chhod*, mere upar, mujh|mujhpe|mujhpar chhod*,
        *oonga, *oongi, promise, *ta|*ti hu|hun|hoon $, tension mat, *uga, *ugi, *unga, *unga main, *ungi, vaada
        *ऊँगा, *ऊँगी, *ता|*ती हूँ, मुझ पर छोड़*, *ुंगा, *ुंगी, *ूँगा, *ूँगी
    """,
    request="""
        <deed> dena|dijiye|dijiyega|dijie|do|lena|lo|dega|doge|dijiyega, aa jana, aa jao, aajana, bata do, batana,
        batao, bhej do, bhejdo, bhejna, bhejo, bhul*|bhool* mat, bol do, chahie, chahiye, chaiye, dedo,
        dena hai|padega|hoga, dhyan *, *iye, *iyega, *iyo, jaldi *o|*na, jana hai|padega|hoga, jara, jarur, *kar dena,
        kar do, kardo, karna hai|padega, kaun *ega|*egi, kisi ko|ke, koi *ega|*egi, koi hai, kripaya, kripya,
        kya tum|aap|tu|koi .. sakte|sakta|sakti|doge|dega, laana, lana, lana hai|padega|hoga, le aana|aao|aana,
        leke aana|aao, lelo, lena hai|padega|hoga, mana *, mat *na, mat bhul*|bhool*, na kare|karna|kare,
        *na padega|hoga|chahiye|hai, padega, padegi, padenge, parega, please, pls, plz, sab log *, sabko *na,
        sakte|sakta|sakti ho|hai|hain, yaad se|rakh*|dila*|rakhna, zara, zaroor, zaroorat, zarur, zarurat
        कर देना, कर दो, कृपया, कोई *ेगा|*ेगी, कौन *ेगा|*ेगी, चाहिए, ज़रा, ज़रूर, दे देना, दे दो, ध्यान *, *ना पड़ेगा,
        *ना है, *ना होगा, *नी है, पड़ेगा, पड़ेगी, प्लीज़, बता देना, बता दो, बोल दो, भेज देना, भेज दो, मत *ना, मत भूल*,
        याद रख*, याद से, ला देना, ले आना, सकता है, सकती हो, सकते हैं, सकते हो, *िए, *िएगा, *िये
    """,
    question="""
        hai na, kab, kab tak, kaha, kahan, kaisa, kaise, kaun, kaunsa, kaunsi, kese, ki nahi|nahin|nhi, kidhar,
        kis time|din|jagah, kise, kiska, kiske, kiski, kisko, kisne, kisse, kitna, kitne, kitne baje, kitney, kitni,
        koi .. aayega|ayega|hai|sakta|karega|lega|jayega, kon, konsa, konsi, kya, kyon, kyu, kyun, ya nahi|nahin|nhi
        कब, कब तक, कहाँ, कि नहीं, कितना, कितनी, कितने, किधर, किसका, किसकी, किसके, किसको, किसने, किसे, कैसे, कौन, कौनसा,
        कौनसी, क्या, क्यों, या नहीं
    """,
    problem="""
        accident, aspatal, atak gaya|gayi, band hai|ho|hua|h|pada, bandh, beemar, bhul|bhool gaya|gayi|gya|gaye, bimar,
        bukhar, cancel, chori, chot, dard, der ho*, der se, deri, dikat, dikkat, emergency, fail, full hai|ho*, gadbad,
        galat, galti, gum ho|gaya, hospital, jal gaya|gayi, jhagda, kaam nahi, kam pad*, kharab, khatam,
        kho gaya|gayi|diya, khtm, late ho|hai|hu|aa*|ho*, leak*,
        light|bijli|paani|pani|net chali|gayi|nahi|nhi|nahin|band, mana kar*, mehenga, mehnga,
        nahi|nahin|nhi ho|aa|mil|chal|ja|kar|aayega|aayegi|milega|milegi|hoga|chalega|aaunga|aa|sakta|sakti|sakte,
        nahi|nhi .. paunga|paungi|payega|paayenge|sakta|sakte|sakti|raha|rahi|rahe, nhi, nuksan, pareshani,
        phas|fas|fans gaya|gayi|gaye|gya, problem, problems, reject*, shikayat, sold out, tabiat, tabiyat, toot *,
        toota, tooti, tut *, urgent
        अस्पताल, ख़त्म, ख़राब, खो गई, खो गया, गड़बड़, ग़लत, ग़लती, चोट, चोरी, टूट*, तबीयत, दर्द, दिक्कत, दुर्घटना, देर,
        नहीं हो|आ|मिल|चल|जा|कर|होगा|आएगा|मिलेगा|पाऊँगा|पाएगा, परेशानी, पानी नहीं, बंद, बिजली *, बीमार, बुख़ार, भूल गई,
        भूल गया, समस्या
    """,
    time="""
        # am|pm, # baje, # bajey, # baj|bajkar *, # bje, # ghante|ghanta|minute|min|mins, # ke baad,
        # minute|min|mins|ghante|ghanta|din|hafte|mahine mein|me|baad|pehle|tak|ka|ke|ki, # se pehle, # tak,
        aadhe ghante, aaj raat|shaam|sham|subah|dopahar, adha ghanta, at|by|around|till|before|after #, dedh|dhai baje,
        dopahar, ek ghante, kal subah|shaam|sham|raat|dopahar, paune|pauney #, sadhe|saadhe|sade #, sava|sawa #,
        shaam|sham|raat|dopahar|dopeher|subha #, shaam|sham|raat|dopahar|subah ko|tak|me|mein|se|wali|ki, subah #,
        subah subah, thodi der
        # घंटे|मिनट, # बजे, # मिनट|घंटे|घंटा|दिन|हफ़्ते|महीने में|बाद|पहले|तक, आधे घंटे, दोपहर, पौने #, रात, रात #,
        शाम, शाम #, सवा #, साढ़े #, सुबह, सुबह #
    """,
    date="""
        # <month>, # din|dino|hafte|mahine, # ko, # se # tak, # tarikh|tareekh|taarikh, aaj,
        agle|agli|is|iss hafte|mahine|saal|week|month|somvar|ravivar|baar, brihaspativar, budhvar, budhwar, diwali,
        friday*, guruvar, guruwar, holi, itvar, itwar, kal, mangalvar, mangalwar, monday*,
        mon|tue|wed|thu|thurs|fri|sat|sun ko|tak|se|wali|raat|subah|shaam, narso, parso, parson, ravivar, raviwar,
        saturday*, shanivar, shaniwar, shukravar, shukrawar, somvar, somwar, sunday*, tareekh, tarikh, thursday*,
        tuesday*, veervar, wednesday*, weekend *
        # को, # तारीख, # दिन|हफ़्ते|महीने, अक्टूबर, अगले|अगली|इस हफ़्ते|महीने|साल, अगस्त, अप्रैल, आज, इतवार, कल,
        गुरुवार, जनवरी, जुलाई, जून, दिवाली, दिसंबर, नवंबर, परसों, फ़रवरी, बुधवार, बृहस्पतिवार, मंगलवार, मार्च, रविवार,
        शनिवार, शुक्रवार, सितंबर, सोमवार, होली
    """,
    place="""
        # floor|manzil, <venue> pe|par|mein|me|ke|pr|se|ko|tak, address, floor|flat|room|gate|platform|hall #,
        ghar pe|par|mein|me|ke|pr|se, kamre mein|me, *ke ghar,
        ke peeche|piche|saamne|samne|paas|pass|bagal|andar|bahar|neeche|upar, location,
        mere|tere|uske|apne|aapke|tumhare|hamare|humare ghar, pata hai *, yahan|wahan pe|par|se|hai
        अस्पताल, कमरे में, के अंदर, के ऊपर, के नीचे, के पास, के पीछे, के बाहर, के सामने, गेट, घर पर|में|से|के, दफ़्तर,
        दुकान, पता, पार्क, बाज़ार, मंज़िल, मंदिर, मेरे घर, स्कूल, स्टेशन, हवाई अड्डे, होटल
    """,
    amount="""
        # <counted>, # each, # ka|ki|ke hai|h|hain|diya|mila, # mein|me dega|milega|mil|de|diya, # per head|person,
        aadha, advance, free mein, har ek ka|ki|se #, kiraya, kul #, muft, per head|person, rs|inr #, sabka #, total #,
        upi
        एडवांस, किराया, कुल #, मुफ़्त
    """,
    change="""
        # ki jagah #, # nahi #, aage badh*, ab *, ab *enge, ab nahi, badal, badal *, badla, badli, balki, cancel,
        canceled, cancelled, change ho|kar|kiya|karo|hai, double booking,
        dusra|dusri|doosra|doosri jagah|din|time|date, galti se, hata *, instead, ke badle, ke bajay, ke bajaye,
        ki bajay, ki jagah, nahi aa*, nahi balki, nahi ja*, nhi aa*, pehle *, plan change, postpone*, radd,
        reschedule*, shift *, time change, wapas *
        अब नहीं, की जगह, के बजाय, के बदले, कैंसिल, टल *, टाल *, दूसरी जगह, दूसरे दिन, बदल*, बल्कि, रद्द, स्थगित
    """,
    negation="""
        bilkul nahi, kabhi nahi, mat, na, nahi, nahin, nahi|nahin|nhi|nai .. *unga|*ungi|*oonga|*oongi, nai, nhi
        न, नहीं, नहीं .. *ूँगा|*ूँगी|*ऊँगा|*ऊँगी, ना, मत
    """,
    agreement="""
        accha, acha, acha theek hai, achha, badhiya, bdhiya, bilkul, chalega, chalo, chalo theek hai, done, great, ha,
        haa, haan, haan ji, haanji, han, hn, ho jaega, ho jayega, hojayega, jarur, ji, ji haan, kyu nahi, kyun nahi,
        mai bhi, main bhi, mast, mujhe chalega, ok, ok done, okay, oki, okk, pakka, perfect, sahi, sahi h, sahi hai,
        theek, theek h, theek hai, thik, thik h, thik hai, thk h, tik hai, yes, yup, zaroor, zarur
        अच्छा, चलेगा, ज़रूर, जी, जी हाँ, ठीक, ठीक है, पक्का, बिल्कुल, मैं भी, सही, सही है, हाँ, हां, हाँ जी, हो जाएगा
    """,
    greeting="""
        adaab, alvida, aur batao|bata, badhai, badhai ho, bhai log, bye, doston, get well soon, gm, gn, good afternoon,
        good evening, good morning, good night, guys, happy birthday|diwali|holi|new|anniversary, hello, hey, hi, hii,
        jai mata di, jai shri krishna|ram, janamdin|janmdin mubarak, jeete raho, ji, jite raho, kaise hai|hain,
        kaise ho, kaise ho aap, kese ho, khush raho, kya chal raha|rha hai|h, kya haal|hal hai|h|chal, mubarak,
        mubarak ho, namaskar, namaste, phir|fir milte hai|hain, pranam, radhe radhe, ram ram, sab, sab badhiya, sabhi,
        sabhi ko, sabko, salaam, salam, sat sri akal, shubh *, shubh prabhat, shubh ratri, suprabhat, tata
        कैसे हैं, कैसे हो, क्या हाल है, खुश रहो, जय *, जीते रहो, नमस्कार, नमस्ते, प्रणाम, बधाई, बधाई हो, मुबारक,
        राम राम, शुभ *, शुभ रात्रि, सब, सबको, सुप्रभात
    """,
    thanks="""
        bahut shukriya, dhanyavaad, dhanyavad, dhanyawad, meherbani, shukriya, thank you, thanks, thanku, thnx, thx,
        ty
        थैंक यू, थैंक्स, धन्यवाद, शुक्रिया
    """,
    laughter="""
        haha, hahaha, hehe, lmao, lol, rofl, xd
        हा हा, हाहा
    """,
    filler="""
        aap bhi, achha ji, amen, and, are, are yaar, arey, arre, baap re, bahut badhiya|accha|sundar|khoob, bap re,
        bas, beta, bhai, bhaiya, bro, chhod, chhodo, chill, cute, didi, god bless, hai, hai bhagwan, he bhagwan,
        hey bhagwan, hm, hmmm, hmm, koi baat nahi|nhi, koi na, koi nahi, kya, kya baat, kya baat hai|h, kya bolu,
        kya yaar, mast, mast hai, na, oho, oye, pata nahi, pata nai, pta nhi, pyaara, pyara, re, rehne do, sach me,
        sach mein, sachi, sahi bola, sahi mein, so, sundar, to, tum bhi, uff, waah, wah, wow, yaar, yar, zabardast
        अरे, कोई बात नहीं, क्या बात है, पता नहीं, बस, बहुत अच्छा, बहुत बढ़िया, बाप रे, बेटा, भाई, यार, वाह, सच में,
        सुंदर, हे भगवान
    """,
    idiom="""
        aaj kal, aaj tak, aajkal, chalo acha|accha, chalo theek hai, chalo thik hai, ho raha|rha|rahi|rahe|rhi hai|h,
        ho sakta hai, jo bhi, kaise hai|hain, kaise ho, kal tak ki baat, koi baat nahi, koi nahi,
        koi problem nahi|nhi|nai, kya baat, kya bolu, kya chal, kya haal|hal, kya mast|maza, kya yaar, kyu nahi,
        kyun nahi, lag raha|rha, no issues, no problem, pata nahi|nhi, subah subah ki
        आज कल, कैसे हो, कोई बात नहीं, क्या बात, पता नहीं
    """,
)
