"""Spanish, of Spain and America, as chats write it: "q", "pq", "xq", no accents, no opening marks."""

from typing import Final

from inference.engine.tongues.phrasebook import Tongue

TONGUE: Final = Tongue(
    code="es",
    common="""
        ahora al algo alguien aquí así aunque bien bueno cada casa como cómo con creo cuando cuándo de del desde donde
        dos el ella ellos en entonces era es esa ese eso esta está están este esto estoy ha hace hacer han hasta hay
        he hoy la las le les lo los luego más me mi mis mucho muy nada ni no nos nosotros o os otra otro para pero por
        porque pq puede puedo pues q que qué quien quién se ser si sí siempre sin sobre solo son soy su sus también
        tan tengo tiene tienen toda todo todos tu tú un una uno va vale vamos van ver vez voy xq y ya yo
    """,
    numbers="""
        una dos tres cuatro cinco seis siete ocho nueve diez once doce quince veinte treinta cuarenta cincuenta
        sesenta cien mil
    """,
    openers="""
        a ah bueno chicas chicos cierto cosa disculpa disculpen entonces ey gente hola o oh oigan ok otra oye perdón
        pero por pues sea una vale ver y
    """,
    lists={
        "deed": """
            aviso ayudo bajo busco cocino cojo compro confirmo consigo dejo digo doy encargo envío escribo hablo
            hago imprimo invito limpio llamo llevo mando miro organizo pago paso pido pongo pregunto preparo presto
            recojo reservo reviso saco subo traigo transfiero
        """,
        "doing": """
            avisar ayudar buscar comprar enviar hablar hacer imprimir intentar ir llamar llevar llevarla llevarlo
            mandar mirar pagar pasar pedir poner preguntar preparar prestar recoger reservar revisar sacar traer ver
        """,
        "month": """
            abril agosto diciembre enero febrero julio junio marzo mayo noviembre octubre septiembre setiembre
        """,
        "venue": """
            aeropuerto alberca ambulatorio andén armario ascensor azotea banco bar biblioteca bodega cafetería cajón
            campo cancha caseta centro cine clínica club cochera cocina cole colegio consultorio edificio elevador
            entrada escuela esquina estación estacionamiento estadio farmacia garaje gimnasio hospital hotel iglesia
            instituto jardín lobby local mercado metro museo nevera oficina pabellón panadería parada parque patio
            piscina playa plaza polideportivo portal portería portón puerta restaurante sala salida salón secretaría
            sótano súper supermercado teatro terminal terraza tienda universidad
        """,
        "counted": """
            adultos alumnos barras boletos bolsas botellas cajas camas céntimos cervezas coches copias departamentos
            dólar dólares entradas eur euro euros familias gramos habitaciones invitados kilo kilos litros lucas
            mesas metros mil millones niños páginas paquetes pavos persona personas peso pesos platos plazas sillas
            soles usd varos veces vecinos votos
        """,
        "span": "días hora horas meses min mins minutos semanas",
    },
    decision="""
        a más tardar, acordado, acordamos, alquilamos, aprobada, aprobado, aprobaron, cierre de inscripción, compramos,
        compré, confirmada, confirmado, confirmo, contratamos, decidido, decidimos, dejémoslo, elegido, elegimos,
        entonces el|la|a|al|en|quedamos|vamos|hacemos|nos, es oficial,
        está confirmado|decidido|hablado|pagado|comprado|reservado, fecha límite, ganó|gana la opción, hacemos,
        he reservado|comprado|pagado|pedido|encargado|contratado|firmado, hecho $,
        hemos decidido|quedado|elegido|votado|acordado, llevamos, lo dejamos en|para|así, lo hacemos, mayoría,
        mejor a|el|en|al|quedamos, nos vemos a|en|el|al|allí|allá|mañana, obligatorio, pagado, pagué, pedimos, plazo,
        prohibido, que sea el|a|en, quedamos, quedamos en|a|el|con|que|así, quedó en|que|para|confirmado, reservada,
        reservado, reservé, salimos a|el|de, se hace|hará|queda|aprueba|paga|cierra|acordó|decidió, será el|a|en|al,
        trato hecho, va a ser, vamos a|al, votación, votamos, ya está *ado|*ido, ya reservé|compré|pagué|pedí|está
    """,
    promise="""
        <deed> yo, avisaré, compraré, con gusto lo|la|les|te, corre|va por mi cuenta, cuenta|cuenten|contad conmigo,
        déjalo|déjenlo|dejádmelo .. mí, diré, enviaré, estaré, hablaré, haré, intentaré, iré, llamaré, llevaré,
        lo prometo, mandaré, me apunto, me encargo, me ocupo, me toca a mí, pagaré, pasaré, paso a|por, pediré,
        preguntaré, prepararé, prometo, puedo <doing>, recogeré, reservaré, tendré, te|os|le|les|lo|la|los|las <deed>,
        traeré, ^ traigo|recojo|hago|pido|pongo|digo|doy|consigo|subo|llevo, voy a <doing>, yo <deed>, yo invito,
        yo me *o, yo te|os|le|les|lo|la|los|las|me <deed>, yo voy|puedo
    """,
    request="""
        acordaos, acordarse, acuérdate, acuérdense, alguien puede|podría|me|nos|que|la|lo, apuntaos, apúntense, avisa,
        avisad, avisadme, avisame, avísame, avisar si, avisen, avísenme, compra, comprad, compren, confirma, confirmad,
        confirmen, debes|deben|debemos|deberíamos|deberían|debéis, decidme, decime, dejad, dejen, díganme, dime, envía,
        enviad, envíen, faltan por|de, favor de, hace falta, hacen falta, hay que, le toca|tocaría|corresponde, llamad,
        llamen, lleva, llevad, lleven, lo|la tiene que, manda, mandad, mandadme, mándame, manden, mándenme,
        me confirmas|confirmáis|avisas|avisáis|dices|decís|mandas|pasas|traes|ayudas|dejas|prestas, mirad, miren,
        necesita, necesitamos, necesitan, necesito, no *éis, no olvidéis, no olviden, no olvides, no os olvidéis,
        no se olviden, no te olvides, no toquéis|abráis|dejéis|abran|dejen|usen|paguen|tiren, nos avisas|dices,
        ojo q|que|con, pasadme, pásame, pásenme, pf, plis, plz, podéis, podría, podríais, podrían, podrías, poned,
        ponga, pongan, por favor, porfa, porfis, puede alguien|usted|ser, pueden, puedes, que alguien,
        que lleve|traiga|vaya|llame|pague, quien pueda|quiera|vaya|tenga|falte,
        quién puede|trae|lleva|va|se|tiene|recoge|compra|hace|viene|quiere, recordad, recuerda, recuerden,
        se ruega|pide|necesita|solicita|busca, tendremos|tendréis|tendrán|tendrías|habrá|habría que,
        tienes|tenéis|tienen|tenemos|tiene|tengo que, trae, traed, traigan, x favor, xfa
    """,
    question="""
        a q hora, a qué hora, ^ alguien sabe|tiene|puede|ha|va|viene|quiere|se|podría|me|nos,
        ^ a|en|de|con|por|para qué|quién, cuánto cuesta|es|sale|vale|hay|toca|queda|falta, ^ desde|hasta cuándo,
        dónde es|está|quedamos|nos, hasta qué hora, hay que llevar|pagar $, q dia, q dia es, qué día,
        ^ qué hora|día|hacemos|llevo|llevamos|opináis|opinan|os|les, ^ qué tal si,
        quién va|viene|lleva|trae|tiene|puede|recoge|compra|hace|falta|sabe|se,
        ^ quién|quien|quiénes|cuándo|dónde|adónde|cómo|cuánto|cuánta|cuántos|cuántas|cuál|cuáles,
        sabéis|saben|sabes si|cuándo|dónde|quién|a|qué|cuánto, se sabe algo|cuándo|si
    """,
    problem="""
        accidente*, adeudo*, agotad*, alergi*, alérgic*, atascad*, atorad*, avería*, averiad*, caducad*, cerrada,
        cerrado, cortan|cortarán, corte de|del, cuidado, deben $, descompuest*, desgraciadamente, deuda, dolor, duele,
        emergencia, enferm*, estropead*, falla, fallando, fallas, fallo, falta, faltan, fiebre, fuga*, gotea*, gotera*,
        hospital, inund*, lamentablemente, lesión, lesionad*, llego|llegamos|llegaré|llega|voy tarde, lo siento, mal $,
        malito|malita, morosos, multa, no abre, no anda, no arranca, no cierra, no da tiempo, no funciona*,
        no hay agua|luz|internet|gas|sitio|plazas|lugar|dinero|sistema|elevador|ascensor|*, no jala, no llega*,
        no llego, no me da tiempo, no puedo|puede|podemos|pueden|podré|podrá|podría, no sirve, no va $, no voy a poder,
        olvidado, olvidé, peligro*, perdí, perdida, perdido, por desgracia, problema, problemas, queja*, quejó,
        retras*, robado, robando, robaron, robo, rota, rotas, roto, rotos, ruido*, se acabaron, se acabó,
        se bloquea|bloqueó, se cayó|perdió|fue|quemó|estropeó|descompuso|trabó,
        se ha|han roto|estropeado|perdido|caído|ido|quemado|atascado|inundado, se me olvidó, se me pasó, se rompió,
        sin agua|luz|internet|gas|plaza|sitio|batería|llaves, tarde $, urgencias, urgente, vence|vencen|venció
    """,
    time="""
        # de la tarde|mañana|noche|madrugada, # menos cuarto, # minutos|min|horas|hora, # pm|am|hrs|hs|horas|hr,
        # y cuarto, # y media, a eso de, a la salida, a primera hora, a última hora, al mediodía,
        a|sobre|hacia|hasta|desde|para|de|antes|después las|la #, a|sobre|hasta|desde|para las #, como a las, de # a #,
        en # minutos|min|horas|hora|días|semanas|meses, en la tarde|noche|mañana, en un rato, entre las #,
        en|dentro de # <span>, esta tarde|noche|mañana, las # y|menos media|cuarto|pico|#, media hora, medianoche,
        medio día, mediodía, por la tarde|noche|mañana, tipo #
    """,
    date="""
        # de <month>, # días|semanas|noches, abril, agosto, antes del #, ayer no, del # al #, diciembre, domingo,
        domingos, el # de, el mes|año que viene|entra, el|día #, enero, este|el|próximo|ese fin, febrero,
        fin de semana, finde, fin|finales|principios|mediados de mes|año|semana|<month>, hasta el #, hoy, jueves,
        julio, junio, la semana que viene|entra, lunes, mañana, martes, marzo, mayo, mierc, miércoles, noviembre,
        octubre, para el #, pasado mañana, próxim* *, próxima|próximo|siguiente|esta|misma semana|mes|año|finde,
        quincena, sábado, sabados, sábados, semana que viene, septiembre, setiembre, viernes
    """,
    place="""
        # planta|piso, al|del <venue>, aquí en, av *, avenida *, c/ *, calle *, casa de *, depto *, dirección,
        en casa de, en recepción|secretaría|portería|casa|oficina|clase,
        en|a|de|del|al|hasta|por la|el|los|un|una|lo <venue>, en|a|de|desde|por mi|tu|su|nuestra|vuestra casa,
        nos vemos en, número #,
        planta|piso|sala|aula|puerta|andén|torre|depto|departamento|apartamento|local|edificio|bloque|portal|mesa #,
        punto de encuentro, quedamos en, ubicación
    """,
    amount="""
        # <counted>, # cada uno|una, # en efectivo, # por ciento,
        # por persona|cabeza|niño|familia|depto|noche|mes|departamento, anticipo, bizum, cada uno #, cotización,
        cuesta|cuestan, cuesta|cuestan|sale a, cuota, depósito, en efectivo, entre #, entre los #, fianza, gratis,
        por #, por persona|cabeza|niño|familia|departamento|depto, presupuesto, seremos #, somos #, son #,
        toca|tocan a #, transferencia
    """,
    change="""
        adelantad*, adelantamos, al final, anula*, anulad*, aplaza*, aplazad*, cambiado, cambiamos, cambiar el|la|de,
        cambiaron, cambió, cambio de|del|en, cancela*, cancelad*, corrección, corrijo, devuelv*, en lugar de,
        en lugar del, en vez de, ha cambiado|habido, han cambiado|cambiado, me cambia|cambias|cambio|cambian,
        me equivoqué, mejor dicho, movemos, movimos, no a las|el|en|la, no vamos, no voy, nueva fecha|hora|dirección,
        nuevo horario|lugar, otra hora|fecha, otro día, perdón es|era|son, posponer*, pospuest*, reprogram*, retrasad*,
        se cancela|canceló|suspende|suspendió|aplaza|pospone|cambia|cambió|pasa|mueve|movió|retrasa|adelanta, sino,
        suspendid*, ya no
    """,
    negation="nada, nadie, ni, ningún, ninguna, ninguno, no, nunca, sin, tampoco",
    agreement="""
        a favor, a mí también, anotado, apoyo, apruebo, apuntado, así quedamos, bien, buena idea, bueno, claro,
        claro que sí, correcto, cuenta conmigo, dale, de acuerdo, desde luego, entendido, enterada, enterado,
        estupendo, exactamente, exacto, genial, hecho, lista, listo, me apunto, me parece,
        me parece bien|perfecto|genial, me sirve, me va bien, me vale, muy bien, ok, okay, okey, oki, okis, órale,
        perfecto, por mí bien|vale|perfecto, por supuesto, recibido, sale, seguro, siii, ^ sí, ^ si $, sí por favor,
        sii, simón, sip, va, vale, venga, ^ yo $, yo igual, yo también, yo voy
    """,
    greeting="""
        a todas, a todos, abrazo, abrazos, adiós, besitos, besos, bienvenida, bienvenido, bss, buen día, buen finde,
        buen provecho, buenas, buenas a todos, buenas tardes|noches, buenos días, chao, chau, chicas, chicos,
        cómo estás|están|estáis|va|andan, descansad, descansen, enhorabuena, familia, felicidades, felicitaciones,
        feliz año|navidad, feliz cumple, feliz cumpleaños, feliz día, gente, hasta luego|mañana|pronto|ahora, hola,
        holaa, holi, mucha suerte, nos vemos, nos vemos $, q tal, que descanses|descanséis|descansen, qué hay, qué tal,
        que te mejores, saludos, suerte, todos, un abrazo, un beso, vecinos
    """,
    thanks="""
        agradecida, agradecido, eres un sol|cielo|crack, gracias, gracias a ti|todos|vosotros|ustedes, grax, grcs,
        mil gracias, muchas gracias, muchísimas gracias, muy amable, se agradece, te lo agradezco
    """,
    laughter="ja, jaja, jajaja, jeje, jiji, jsjs, lol, me meo, me muero $, me parto, xd",
    filler="""
        ah, ajá, amén, ay, ay dios, bravo, cómo, crack, da igual, de nada, de verdad, dios, dios mío, eh, en serio,
        guapa, guapo, guau, güey, hm, hombre, hostia, igualmente, jo, joder, lo que sea, madre mía, máquina,
        me da igual, menos mal, mm, mujer, muy, muy bueno, ni idea, no hay de qué, no mames, no manches, no me digas,
        no pasa nada, no sé, oh, ojalá, olé, pues, pues eso, pues nada, qué, qué bien, qué bonito, qué bueno,
        qué chulo, qué fuerte, qué guay, qué horror, qué mal, qué pasada, qué pena, qué rico, qué risa, tal cual, tía,
        tío, tranqui, tranquila, tranquilo, uf, uff, vaya, wey, wow, y, y tú, ya, ya te digo, ya ves, yo qué sé
    """,
    idiom="""
        a la una y|otra, buenas noches, buenas tardes, buenos días, como dice|dijo|digo|si|un|una|el|la|en,
        cómo estás|están|estáis|va, cómo mola, cómo no, cómo que, como quieras|queráis|quieran, como siempre,
        cómo te|os quiero, cuando quieras, cuánta razón, cuánto me alegro, cuánto tiempo sin, de hecho, el uno,
        en este momento, hasta luego, hasta mañana, hay que reír*, hay que ver, la mayoría de, lo siento mucho,
        me paso $, mucho ruido, ni falta, no hay de qué, no hay duda, no hay prisa, no hay problema, no me falta,
        no pasa nada, no puede ser, no puedo con|más, no puedo parar, nos vemos $, por si, qué tal, quién fuera,
        quién lo diría, quién sabe, sin falta, sin problema, tengo que decir|reconocer, vamos a ver, vamos que
    """,
)
