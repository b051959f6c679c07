# ruff: noqa: RUF001 (the dotless i is a letter of Turkish)
"""Turkish, as chats write it: without dots and cedillas ("yarin"), with spoken endings ("gelicem", "geliyo").

What English says in words of its own Turkish says in endings, so many entries are endings or stems here.
"""

from typing import Final

from inference.engine.tongues.phrasebook import Tongue

TONGUE: Final = Tongue(
    code="tr",
    common="""
        abi abla acaba ama ancak artık aslında aynı bana bazı belki ben bende benden beni benim beyler bi bile bir
        biraz biri biz bize bizim böyle bu buna bunu burada burda çok çünkü da daha de değil demek diye en evet falan
        filan gibi göre hala hangi hani hem hep hepsi her herkes hiç için ile ise işte kadar kendi ki kim kimse madem
        mi mı mu mü nasıl ne neden nerde nerede niye o olan olarak oldu olmaz olsun olur ona onu onun orada orda
        sadece sana sen seni senin şey şimdi siz size sonra şu tabi tamam tane tüm var vardı varsa ve veya ya yaa yani
        yine yok yoksa zaten
    """,
    numbers="bir iki üç dört beş altı yedi sekiz dokuz on onbir oniki yirmi otuz kırk elli altmış yüz bin",
    openers="""
        abi abla ama arada arkadaşlar ben beyler bi bir bu da de e eee ee evet gençler ha hocam kızlar komşular millet
        o peki selam sen tamam ve ya yani
    """,
    lists={
        "counted": """
            adet bilet bin çocuk daire dolar ekmek euro gram kat kg kilo kişi* kişilik koli koltuk kuruş kutu lira*
            litre masa metre milyon oy paket porsiyon sandalye şişe tane tl yüz
        """,
    },
    decision="""
        # olsun, *acağız, *acaz, aldık $, aldım $, *alım, anlaşıldı, anlaştık, ayarladık, ayarladım, ayarlandı,
        ayırttık, ayırttım, bitti $, çoğunluk, *eceğiz, *ecez, *elim, en geç, hallettik, hallettim, halloldu, *icaz,
        *icez, *ılacak, *ilecek, *iyoruz, kabul edildi|ettik, karar verdik|verildi|alındı|aldık, kararı, kararlaştır*,
        kesin $, kesinleş*, *lım $, netleş*, o zaman *, o zaman #, ödedik, ödedim, ödendi, olsun $, onayla*,
        oy birliği*, oylama*, rezervasyon yap*, rezerve*, satın aldım|aldık, seçildi, seçtik, son gün, son tarih,
        toplantı*, tuttuk, *ucaz, *ucez, *uyoruz, yapılacak, yasak*, zorunlu
    """,
    promise="""
        *acağım, *acam, *arım, bakıyorum, bana bırak|bırakın, ben *iyorum|*uyorum|*iyom|*uyom, ben varım, bende $,
        benden $, *eceğim, *ecem, *erim, *icam, *ıcam, *icem, ilgileniyorum, *irim, *ırım, iş|o|bu|kalanı|gerisi bende,
        merak etme|etmeyin, söz $, söz veriyorum, *ucam, *ucem, *ücem, *urum, *ürüm, varım $
    """,
    request="""
        aidat*, al|alın|ara|arayın|at|atın|bak|bakın|getir|getirin|gönder|gönderin $,
        biri|birisi|biriniz|birileri .. *sin|*sın|*sun|*sa|*se|*ir|*ar|*ur, gerek, gerekecek, gerekir, gerekiyo*,
        gerekli, haber et*, haber ver*, herkes *sin|*sın|*sun, ihtiyaç*, *ınız|*iniz $,
        kim *acak|*ecek|*ir|*ar|*er|*ur|*iyo|*iyor|*ebilir|*abilir, kim var, lazim, lazım, lutfen, lütfen,
        *mak|*mek zorunda*, *malı, *malısın*, *malıyız, *ması|*mesi lazım|gerek|gerekiyor|gerekiyo, *meli, *melisin*,
        *meliyiz, *r misin|misiniz|musun|musunuz|müsün|müsünüz, *r mi|mı|mu|mü $, rica *, *rmisin, *rmisiniz, *rmusun,
        *rmusunuz, *sana, *sanıza, şart, *sene, *senize, söyle|söyleyin|ver|verin|yap|yapın|yaz|yazın $, unutma*,
        var mı
    """,
    question="""
        acaba, *dimi, *dımı, hangi, hangisi, kaç, kaça, kaçıncı, kaçta, kaçtan, kim, kimde, kimden, kime, kimin,
        kiminle, kimler, mi, mı, misin, mısın, misiniz, mısınız, miydi, mıydı, miyiz, mıyız, mu, mü, musun, müsün,
        musunuz, müsünüz, muydu, muyuz, müyüz, nasıl, ne al*, ne diyorsunuz|dersiniz|dersin|diyo*, ne getir*, ne giy*,
        ne iş, ne kadar, ne kaldı, ne olacak, ne oldu, ne saat*, ne var, ne yap*, ne zaman, neden, nerde, nerden,
        nerede, nereden, neresi, nereye, neyi, neyle, niye, olurmu, *rmı, varmi, varmı, *yomu, *yormu
    """,
    problem="""
        açamıyo*, acil*, açılmıyo*, ağrı*, akıtıyo*, akıyo*, alerji*, arıza*, arızalı, ateşi var|çıktı, bitmiş, borç*,
        borcu*, bozuk*, bozul*, bulamadı*, bulamıyo*, çaldılar, çalındı, çalışmadı, çalışmıyo*, çalmış, ceza*, dikkat,
        dolmuş, dolu $, eksik*, elektrik yok, geç kal*, gecik*, gelemedi, gelemem, gelemeyeceğim, gelemeyecek, gelemez,
        gelemicem, gelemiyo*, gelmiyo*, giremiyo*, gürültü*, hasta*, hastane*, hırsız*, internet yok, iptal*, kalmamış,
        kapalı, kaybet*, kaybol*, kayıp, kaza*, kesik*, kesildi, kesinti*, kırdı*, kırık*, kırıl*, küf*, maalesef,
        malesef, müsait değil*, ne yazık, ödenmedi, ödenmemiş, olmadı, olmuyo*, patla*, problem*, sakat*, şikayet*,
        sıkıntı*, sızdır*, sızıntı, sızıyo*, sorun*, su kesil*, su yok, taşmış, tehlike*, tıkalı, tıkan*, tükendi,
        unutmuş*, unuttum, uygun değil*, yangın*, yapamam, yapamıyo*, yetersiz, yetişemedi*, yetişemem, yetişemicem,
        yetişemiyo*, yetmez, yetmiyo*, yırtık, yırtıl*, yok $, zam
    """,
    time="""
        # buçuk*, # dakika|dk|saat|saate|dakikaya|dkya, # de|da|te|ta, # e|a|ye|ya,
        # e|a|ye|ya|de|da|te|ta|den|dan|ten|tan kadar|doğru|önce|sonra, # gibi, # saat, akşam *, akşama, akşamleyin,
        akşamüstü, akşam|sabah|öğlen|gece|öğle|sabahın #, *a|*e|*i|*ı # var|kala|geçe, bir saat*, bir|1 saat*,
        bu akşam, bu gece, bu sabah, buçuk, buçukta, gece yarısı, kaçta, öğleden sonra|önce, öğlen, öğleye, saat #,
        saate #, saati #, sabah erken, sabaha, sabahleyin, yarım $, yarım saat*
    """,
    date="""
        # ekim*|ocak*|mart*|kasım*|aralık*, # gün sonra|içinde|var, # günü, # gün|hafta|ay|gece, ağustos*, aralık,
        aralıkta, ay sonu*, ayın, ayın #, ayın # i|ı|u|ü|si|sı|ine|una|ında, ayın sonu*, bayram*, bu pazar, bugün*,
        çarşamba*, cuma*, cumartesi*, ekim $, ekimde, ertesi gün*, eylül*,
        gelecek|önümüzdeki|bu|öbür hafta|ay|yıl|sene|hafta*|ayın|aya, hafta içi*, hafta sonu*, haftada #, haftaiçi,
        haftasonu*, haftaya, haziran*, kasım, kasımda, mart, martta, mayıs*, nisan*, öbür gün*, öbürgün, öbürsü gün*,
        ocak, ocakta, pazar #, pazar akşam*, pazar günü*, pazar saat, pazar sabah*, pazara, pazardan, pazartesi*,
        perşembe*, salı, salı günü, salıdan, salısı, salıya, şubat*, tatilde, temmuz*, yarın*
    """,
    place="""
        # kat|kata|katta, adres*, arkasında, avmde, bahçede, bizde, bizim ev*, bizim orda, bodrum kat*, cadde*, camide,
        çarşıda, çatıda, çekmecede, daire #, depoda, dolabın*, dolapta, durağ*, durakta, eczanede, evde, garajda,
        girişe, girişte, hastanede, hastaneye, havaalan*, havalimanı*, iskele*, iskelede, *istasyon*, kafede, kantinde,
        kapı #, kapıda, kapının, kapının önü*, konum*, köprüde, köşede, kütüphanede, lisede, lobide, lokantada,
        mahallede, markette, masada, masanın, merdivende, metroda, meydana, meydanda, meydanı*, müzede, no #,
        odası|odasın*, ofise, ofiste, okula, okulda, okulun, önünde, otelde, otogar*, otoparka, otoparkta, parka,
        parkta, restoranda, restoranı*, sahada, sahaya, sahilde, sahile, salonda, salonu*, sığınakta, sinemada,
        sınıfta, sizde, sokağ*, sokak, sokakta, stada, stadyumda, terasta, tiyatroda, üniversitede, yanında,
        yönetici* oda*, zemin kat*, zeminde
    """,
    amount="""
        # <counted>, # er|ar|şer|şar, # oluyoruz|kişiyiz|oluruz|olduk, adam başına,
        adam|kişi|daire|çocuk|aile|tane başı*, bedava, bin lira, depozito*, fiyat*, iban*, kapora*, taksit*, tam #,
        toplam #, ücret*, ücretsiz, yüzde #
    """,
    change="""
        # değil #, alındı, artık *mıyo*|*miyo*|*muyo*|yok|değil, aslında, başka gün|saat|zaman|yer*, başkasına,
        bekle* *, ben yokum, değişecek, değişiklik*, değişmiş, değişti, değiştir*, düzeltme, ertele*, ertelen*,
        gelemeyeceğ*, gelemiyo*, iptal*, kaydı $, kaydır*, meğer, *mıyor artık, öne al*, öne çek*, onun yerine,
        saat # değil, saat değil, takas*, taşındı, taşınıyo*, vazgeç*, yanlış*, yerime, yerine, yokum
    """,
    negation="""
        asla, değil, hayır, hiç, kimse, *miyo, *mıyo, *miyor, *mıyor, *muyo, *müyo, *muyor, *müyor, olmaz, yok, yokum
    """,
    agreement="""
        anlaştık, aynen, bana da uyar, bana uyar, bana uygun, ben de, ben de varım, ben varım, bende, bende varım,
        bizde varız, bize uyar, doğru, elbette, evet, eyvallah, güzel, harika, hay hay, he, hee, hı hı, iyi, iyi olur,
        kabul, kesinlikle, mutlaka, ok, okay, okey, oki, olur, oluyo, oluyor, peki, süper, tabi, tabi ki, tabii,
        tabii ki, tabiki, tamam, tamamdır, tamamm, tm, tmm, tmmdır, uyar, uygun, uygundur, varım, varız, yes
    """,
    greeting="""
        abi, abicim, abim, abla, aleyküm selam, arkadaşlar, as, beyler, canım, doğum günün kutlu olsun, geçmiş olsun,
        görüşmek üzere, gorusuruz, görüşürüz, gunaydin, günaydın, hadi görüşürüz,
        hayırlı akşamlar|sabahlar|geceler|günler|cumalar|işler|olsun|bayramlar, hepinize, herkese, hocam,
        hoş geldin|geldiniz|bulduk, hoşça kal, hoşçakal,
        iyi akşamlar|geceler|günler|sabahlar|haftalar|pazarlar|bayramlar|hafta sonları|tatiller|yolculuklar|oyunlar,
        iyidir, iyiyim, kanka, kanki, kardeşim, kolay gelsin, komşular, komşum, merhaba, merhabalar, mrb, naber,
        nasılsın, nasılsınız, nbr, ne haber, nice mutlu yıllara, nice yıllara, öptüm, öpüyorum, sa, saygılar, selam,
        selamlar, selamün aleyküm, sevgiler, slm, tebrik ederim|ederiz, tebrikler
    """,
    thanks="""
        allah razı olsun, çok sağol|sağolun, çok teşekkürler, ellerine|elinize|elinizden sağlık, eyv, eyvallah, mersi,
        minnettarım, sağ ol, sağ olun, sağol, sağolasın, sağolun, saol, saolun, teşekkür, teşekkür ederim|ederiz,
        teşekkürler, tsk, tşk, tşkler
    """,
    laughter="ahah, ahaha, ahahah, *ajaj*, haha, hahaha, jsjs, lol, puhaha, *sjsj*, sjsj, xd",
    filler="""
        aaa, aa, afiyet olsun, amin, ay, ayy, be, bence de, bi, bilmem, bilmiyorum, bir şey değil, boşver, bravo,
        canım, cidden, ciddi misin, çok, çok güzel, çok iyi, çok komik, çok tatlı, da, de, değil mi, di mi, dimi, e,
        ee, eh, fark etmez, farketmez, gerçekten mi, ha, hadi, hadi be, hadi ya, helal, hı, hm, hmm, i, inanmıyorum,
        inş, inşallah, işte, keşke, ki, kıyamam, lan, maşallah, ne, ne demek, ne ya, neyse, of, off, oha, önemli değil,
        öyle mi, rica ederim, sorun değil, valla, vallahi, vay, vay be, walla, ya, yaa, yahu, yav, yazık, yok artık,
        yuh
    """,
    idiom="""
        adamın, afiyet olsun, akşamlar, allah razı olsun, altın, anlarım, bakalım, bana, bayılırım, benim, bilirim,
        biliyorum, bilmiyorum, bilmiyoruz, birim, bizde, bizim, bugün, bütün, çok geçmiş olsun, değil mi, derim, di mi,
        dilerim, diyelim, düğün*, durum*, eline|elinize sağlık, geçmiş olsun, gelin, görelim bakalım, gülüyoruz, gün,
        haberim, hadi bakalım, hastasıyım, hastayım buna, hayırlı olsun, için, isterim, iyi akşamlar, iyi misin*,
        kadar, kadın, kadının, kimin, kimse, kimsenin, kutlu olsun, merak ediyorum|ettim, nasıl gidiyor, nasıl ya,
        nasılsın*, ne alaka, ne bileyim, ne güzel, ne kadar güzel|tatlı|iyi|komik, ne ki, ne var ya, nedeniyle, onun,
        öyle mi, özür dilerim, param, problem değil, rica ederim|ederiz, sana, sanırım, senin, severim, seviyoruz,
        sıkıntı olmaz, sıkıntı yok, sizin, sorun değil, sorun yok, şükürler, tebrik ederim|ederiz,
        teşekkür ederim|ederiz, umarım, uzun, yarım, yerim, yok artık, yok canım, yok ya, yok yok, yorum, yorumu,
        zaten
    """,
)
