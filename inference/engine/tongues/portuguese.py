"""Portuguese, of Brazil and Portugal, as chats write it: "vc", "n", "q", "pq", "tb", "blz", no accents."""

from typing import Final

from inference.engine.tongues.phrasebook import Tongue

TONGUE: Final = Tongue(
    code="pt",
    common="""
        a agora aí ainda alguém algum ali ao aos aqui as até bem bom cada coisa com como da das de dela dele depois
        dia do dos e é ela ele eles em então era essa esse está estão estava este eu faz fazer foi gente há hoje isso
        isto já lá lhe mais mas me mesmo meu minha muito n na nada não né nem no nos nós o os ou outra outro para pela
        pelo pessoal por porque pq pra pro q quando que quem se sem ser será seu só sou sua tá também tb tem tenho ter
        teu todo todos tu tudo um uma vai vamos vão vc vcs você vocês vou
    """,
    numbers="""
        uma duas dois três quatro cinco seis sete oito nove dez onze doze quinze vinte trinta quarenta cinquenta
        sessenta cem mil
    """,
    openers="""
        acaso agora ah aí bem bom coisa desculpa desculpem e então entretanto gente já mãe malta mas né ó oh oi ok olá
        olha outra pai pessoal por
    """,
    lists={
        "deed": """
            ajudo apanho aviso busco compro confirmo cozinho digo dou empresto encomendo envio escrevo faço falo
            imprimo levo ligo limpo mando marco organizo pago passo peço pego pergunto ponho preparo reservo resolvo
            revejo separo trago trato vejo
        """,
        "doing": """
            ajudar arranjar avisar buscar chegar comprar confirmar emprestar enviar estar falar fazer ficar imprimir
            ir levar ligar mandar pagar passar pedir pegar perguntar pôr preparar reservar resolver tentar tratar
            trazer ver
        """,
        "month": "abril agosto dezembro fevereiro janeiro julho junho maio março novembro outubro setembro",
        "venue": """
            academia aeroporto armário armazém arrecadação auditório banco bar biblioteca café cais campo centro
            cinema clínica clube colégio cozinha depósito elevador entrada escola escritório esquina estação estádio
            faculdade farmácia frigorífico galeria garagem gaveta geladeira ginásio hospital hotel igreja jardim
            loja mercado metro metrô museu oficina padaria paragem parque piscina ponto porta portão portaria praça
            praia prédio quadra quintal receção recepção restaurante rodoviária saída sala salão secretaria shopping
            supermercado teatro terminal terraço universidade vó vô
        """,
        "counted": """
            adultos alunos bilhetes cadeiras caixas camas carros centavos cêntimos cervejas contos convidados cópias
            crianças dólares eur euro euros exemplares garrafas gramas ingressos kilos litros lugares mesas metros
            mil milhões pacotes páginas paus peças pessoa pessoas quartos quilos reais real sacos vagas vezes votos
        """,
    },
    decision="""
        a gente se encontra|vê|racha|divide|faz|vai|paga|sai|leva|compra, aprovada, aprovado, aprovaram, assinado,
        assinei, até ao fim, bora *, combinada, combinado, combinamos, comprámos, comprei, confirmada, confirmado,
        confirmei, confirmo, contratámos, contratei, data limite, decidido, decidimos, divide por, é oficial,
        encomendei, encontramo-nos, então vamos|fica|é|às|aqui|no|na|dia|almoço|jantar|a, escolhemos, escolhido,
        está decidido, fazemos, fechado, fechou, feito, fica combinado|decidido|marcado|para|pra|assim|então, ficamos,
        ficou combinado|decidido|marcado|para|pra|em|assim|acertado, ganhou, maioria, marcada, marcado, marcamos,
        marcámos, marquei, no máximo, nos encontramos, obrigatório, pago $, paguei, prazo, proibido, racha, rachar,
        reservado, reservámos, reservei, resolvido, saímos às|de|do|da, será às|no|na|dia|em, tá combinado, tá fechado,
        vai ser às|no|na|dia|em|aqui|lá,
        vamos fazer|de|a|ao|no|na|pra|para|ficar|comprar|usar|levar|sair|marcar|dividir|com|manter, votação, votámos
    """,
    promise="""
        ^ <deed>, <deed> eu, carne|bebida|bolo|isso eu *o, chego *, comprarei, consigo <doing>, conta comigo,
        contem comigo, deixa comigo, deixem comigo, é comigo, enviarei, estou aí|lá às, eu <deed>,
        eu te|lhe|vos|o|a <deed>, eu trato, eu vou|posso|consigo|fico|trato, farei, fica comigo, fico com|responsável,
        irei, levarei, pagarei, pode deixar, por minha conta, posso <doing>, prometo, te|vos|lhe|o|a|as|os <deed>,
        trarei, trato disso, vou <doing>
    """,
    request="""
        agradeço que|se, alguém pode|consegue|tem|sabe|me|quer|leva|traz,
        avisa|avisem|manda|mandem|confirma|confirmem|tragam|levem|comprem|digam|vejam|mandem|enviem|respondam|paguem|chequem|deixem|coloquem|usem|evitem|verifiquem,
        avisem-me, compra o|a|os|as .. então, deve|devem|devemos|deveria, diz|diz-me|digam-me, é favor, é para, é pra,
        é preciso, façam, falta quem, favor *, faz favor, há que, há voluntários, lembra, lembrando, lembrar, lembrem,
        lembrete, mandem-me, me avisa|avisem|manda|mandem|diz|diga|digam|passa|liga|liguem|ajuda|confirma|confirmem,
        não esquec*, não esqueç*, não esqueça*, não se esqueça*, não te esqueças, pede-se, pf, pff, pfv, plmds,
        podem|podes|poderia|poderiam|podias|consegues,
        pode|podem|podes|podia|podiam|poderia|consegue|conseguem|consegues|dá para|pra *ar|*er|*ir, ponham, por favor,
        precisa, precisam, precisamos, precisas, preciso, quem puder|quiser|vier|for|tiver, se faz favor, sff,
        tem|têm|temos|tens|tenho|tinha que|de, tragam, traz|trazer|leva .. por|quem|se,
        você|vc|alguém|quem leva|traz|compra|topa,
        você|vc|vcs|vocês|tu|alguém|quem pode|podem|podes|poderia|consegue|conseguem|consegues, voluntários
    """,
    question="""
        a que horas, ^ alguém sabe|tem|pode|viu|vai|quer|consegue|já, ^ até|desde quando, ^ dá para|pra, ^ de|com quem,
        ^ é preciso|para levar, ^ falta|faltam alguém|quem, onde é|fica|está|tá|vai, pode ir, ^ porque não,
        ^ por|pra|a|em|o que|q, q horas, quanto custa|é|fica|sai|deu|falta|custou, que dia é, que horas,
        ^ que horas|dia, quem vai|vem|leva|traz|tem|pode|busca|compra|faz|falta|sabe|fica,
        ^ quem|quando|onde|aonde|como|quanto|quanta|quantos|quantas|qual|quais|pq|porquê,
        sabem|sabe|sabes se|quando|onde|quem|quanto, tem como, ^ tem que, ^ vai ser|ter .. ou
    """,
    problem="""
        acabaram, acabou, acidente, alag*, alerg*, alérgic*, atras*, atrasad*, avaria, avariad*, avariou, barulho,
        caiu, cancelaram, cuidado, deu problema, deu ruim, dívida, doente, doentes, doeu, dói, dor, emergência,
        entupi*, errada, errado, esgotad*, esgotou, esqueceu, esqueci, está|tá|tava|estava fechado|fechada, estragad*,
        estragou, falha, falhas, falhou, falta, faltam, faltou, febre, fissura, fuga, hospital, infelizmente,
        infiltra*, inund*, lesion*, machuc*, molhad*, multa, n consigo, n dá, n posso, na oficina, não abre,
        não consigo, não dá, não fecha, não funciona*, não há, não liga, não posso,
        não posso|pode|podemos|podem|consigo|consegue|conseguimos|vou|vai conseguir|poder,
        não tem água|luz|internet|lugar|vaga|vagas|sistema|carro|como|jeito, partida $, partido, partiu, partiu-se,
        perdeu, perdi, perdido, perigo*, pifou, presa, preso, problema, problemas, proibiu, quebrada, quebrado,
        quebraram, quebrou, queimad*, queimou, queixa*, rachad*, rachada, rachou, reclam*, roubad*, roubaram, roubo,
        ruído, sem água|luz|internet|gás|lugar|vaga|carro|bateria|chave, tarde demais, trancad*, urgência, urgente,
        vazamento, vazando, vence, venceu
    """,
    time="""
        # da manhã|tarde|noite|madrugada, # e meia, # e pouco, # e quinze|trinta, # h, # h #,
        # horas|hs|hora|hrs|am|pm, # minutos|min, à hora, à noite, à tarde, ao almoço, ao fim do dia, ao meio,
        as # h|horas|da, às|as|à|ás|até|lá|para|pelas|desde|das|depois|antes às|as|pelas|das #, às|pelas|das #,
        até|desde às #, das # às #, de manhã, de noite, de tarde,
        em|daqui a|daqui|dentro de # minutos|min|horas|hora|dias|semanas|meses, entre as #, esta tarde|noite|manhã,
        fim da tarde, hoje à|de tarde|noite|manhã, lá pelas, logo à noite, meia hora, meia noite, meia-noite, meio dia,
        meio-dia, na saída, por volta das|de
    """,
    date="""
        # de <month>, # dias|semanas|noites, abril, agosto, amanhã, até dia #, de # a #, depois de amanhã, dezembro,
        dia #, domingo, domingos, fds, feriado*, fevereiro, fim de semana,
        fim|final|início|meio|meados do|de mês|ano|semana|<month>, final de semana, hoje, janeiro, julho, junho, maio,
        março, na semana que vem, natal, no dia #, novembro, outubro, para a semana, pra semana,
        próxima|próximo|esta|essa|outra semana|mês|ano|feira, quarta, quinta, sábado, sabados, sábados, segunda,
        segunda-feira, semana|mês|ano que vem, setembro, sexta, terça, véspera
    """,
    place="""
        # andar|piso, andar|piso|sala|porta|portão|bloco|apto|apartamento|mesa|loja|cais #, aqui em casa, av *,
        avenida *, casa da|do *, em casa, endereço, lá em casa, localização, morada, na casa da|do|de,
        na|em|no|pra|para|da minha|tua|sua|nossa casa, na|no|à|ao|da|do|pela|pelo <venue>,
        na|no|da|do|à|ao|pela|pelo|para|pra|até o|a|na|no <venue>, ponto de encontro, rua *
    """,
    amount="""
        # <counted>, # cada, # para cada, # por cento, # por pessoa|cabeça|criança|noite|mês, = #, cada um #, caução,
        custa|custam|custou, de graça, desconto, deu #, dou #, em # vezes, entrada de, grátis, mb way, mbway,
        orçamento, pix, por #, por pessoa|cabeça|criança, são #, seremos #, sinal de, somos #, transferência
    """,
    change="""
        adia*, adiad*, adiar, adiou, afinal, alteração, alterad*, alterou, antecip*, antes às, ao invés, cancela*,
        cancelad*, cancelaram, cancelou, correção, correcção, corrijo, desmarc*, devolv*, em lugar de|do|da,
        em vez de|do|da, enganei-me, errata, invés, já não, mas sim, me enganei, melhor às|no|na, muda para|pra,
        mudamos, mudámos, mudança, mudar, mudaram, mudou, na verdade, não é|são|às #, não mais, não vai $,
        não vai mais, não vem, não vou, no lugar do|da|de, nova data|hora|morada, novo horário|endereço|local,
        outra data|hora, outro dia, passa para|pra|a|ser, passou para|pra|a, remarc*, senão, substitui*, suspens*,
        troca, trocado, trocamos, trocar, troco, trocou
    """,
    negation="jamais, n, nada, nao, não, nem, nenhum, nenhuma, ninguém, nunca, sem",
    agreement="""
        aham, anotado, bele, beleza, blz, boa, boa ideia, bora, certinho, certo, claro, claro que sim, com certeza,
        combinado, concordo, de acordo, entendido, está bem, está bom, ^ eu $, eu também, eu tb, eu topo, exacto,
        exatamente, exato, excelente, fechado, fechou, feito, fixe, isso, isso aí, isso mesmo, já foi, joia, jóia,
        legal, ok, okay, oki, óptimo, ótimo, partiu, perfeito, pode ser, por mim, por mim tudo bem|ok|pode, pronto,
        show, ^ sim, simm, ss, tá, ta bom, tá bom|bem|certo|ok, também, tb, tô dentro, topo, tou dentro, tranquilo,
        uhum, valeu, vou sim
    """,
    greeting="""
        a todos, abraço, abraços, abs, amigas, amigos, as melhoras, até logo|amanhã|já|mais|breve, beijinhos, beijo,
        beijos, bem vindo, bem-vinda, bem-vindo, bj, bjos, bjs, boa noite, boa semana, boa sorte, boa tarde, bom dia,
        bom diaa, bom domingo, bom fds, bom fim de semana, como estão, como vai, como vão, e aí, eae, eai, família,
        feliz aniversário|natal|ano|dia, galera, gente, malta, melhoras, oi, oii, ola, olá, opa, parabéns, pessoal,
        tchau, td bem, tudo bem, tudo bom, vizinhos, xau
    """,
    thanks="""
        agradecida, agradecido, agradeço, brigada, brigadão, brigado, grata, gratidão, grato, mto obrigado|obrigada,
        muito obrigado|obrigada, obg, obgd, obrigada, obrigado, valeu, vlw
    """,
    laughter="ahah, ahahah, eheh, eita, haha, hahaha, hehe, kkk, kk, lol, rs, rsrs, xd",
    filler="""
        a sério, adorei, ah, ai, amei, amém, bravo, calma, cara, caraca, caramba, coitada, coitado, como assim,
        de nada, demais, deus me livre, e, é, é verdade, eita, então tá, gostei, hm, hum, igualmente, imagina, jura,
        linda, lindo, mano, maravilha, meu deus, muito bom, muito giro, n sei, não faz mal, não sei, né, nossa,
        nossa senhora, o que, o quê, oh, ora, oxalá, pô, pois, pois claro, pois é, por nada, pqp, pra mim tanto faz,
        putz, que bom, que delícia, que fofo, que giro, que horror, que linda, que lindo, que nojo, que pena,
        que saudade, relaxa, sei lá, sem problema, sério, tanto faz, tipo, tomara, top, uai, ué, ui, verdade
    """,
    idiom="""
        até amanhã, boa noite, boa tarde, bom dia, como assim, como diz|disse|se|um|uma|o|a, como é bom, como estão,
        como sempre, como vai, é dia, é para rir, falta de ar, faz parte, hoje em dia, não acredito, não aguento,
        não faz mal, não há problema, não sei, não tem problema, por uma, primeira e segunda, quarta vez,
        que dia lindo, que horror, quem dera, quem diria, quem me dera, quem sabe, quinta vez, segunda opção,
        segunda vez, sem problema, sexta feira, terça parte, tudo bem, vou morrer
    """,
)
