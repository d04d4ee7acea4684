package wer

import "strings"

// spellings maps British spellings to American ones, so that a recogniser is
// not charged for its side of the Atlantic. Most follow a rule: a stem with
// one of the endings of its family.
//
//nolint:misspell // half of these are British, half American, as they must be
func spellings() map[string]string {
	t := map[string]string{}
	family := func(from, to, endings, stems string) {
		for _, stem := range strings.Fields(stems) {
			for _, e := range strings.Fields(endings) {
				e = strings.TrimPrefix(e, "-")
				t[stem+from+e] = stem + to + e
			}
		}
	}
	family("is", "iz", "e ed es er ers ing ation ations able",
		`accessor acclimat agon amort anaesthet anglic annual antagon apolog appet author bapt bastard bowdler brutal
		canal cannibal canon capital caramel carbon categor cauter central character circular civil collectiv colon
		commercial compartmental computer conceptual contextual criminal critic crystall custom decentral decriminal
		dehuman demilitar demobil democrat demon demoral denational deodor depersonal deput desensit destabil digit
		disorgan dramat econom editorial empath emphas energ epitom equal eulog evangel exorc extempor external factor
		familiar fantas femin fertil fictional final formal fossil fratern galvan general ghetto glamor global harmon
		homogen hospital human hybrid hypnot hypothes ideal idol immobil immortal immun individual industrial initial
		institutional intellectual internal international ion italic item jeopard legal legitim liberal lion liquid
		local magnet marginal material maxim mechan memorial memor mesmer metabol militar miniatur minim mobil modern
		moistur monopol moral motor national natural neutral normal optim organ ostrac overemphas oxid particular
		passiv pasteur patron pedestrian penal personal philosoph plagiar polar politic popular pressur priorit privat
		professional propagand proselyt public pulver radical random rational real recogn regular reorgan revital
		revolution rhapsod ritual romantic sanit satir scandal scrutin secular sensational sensit sentimental serial
		sermon signal social sodom solemn special stabil standard steril stigmat subsid summar symbol sympath
		synchron synthes systemat tantal tempor tender terror theor transistor traumat trivial tyrann unauthor
		uncivil underutil union unorgan unrecogn urban util vandal vapor verbal victim visual vocal vulcan vulgar
		western woman`)
	family("ys", "yz", "e ed es er ers ing", "anal breathal catal paral psychoanal")
	family("lis", "iz", "e ed es er ers ing", "tranquil")
	family("l", "", "ed ing",
		`backpedal bedevil bejewel bevel cancel carol cavil channel chisel counsel cudgel dial disembowel dishevel drivel
		duel enamel funnel gambol gravel grovel impanel imperil initial jewel label level libel marshal marvel model
		panel parcel pedal pencil quarrel ravel refuel remodel revel rival shovel shrivel signal snivel snorkel spiral
		squirrel stencil swivel tassel towel travel trial tunnel unequal unravel unrival untrammel weasel yodel`)
	family("l", "", "or ors", "council counsel")
	family("l", "", "er ers", "jewel level model revel travel")
	family("l", "", "ize ized izes izer izers izing ity", "tranquil")
	family("l", "ll", "- s", "appa disti enro enthra fulfi insta insti")
	family("l", "ll", "ment ments", "enro fulfi insta")
	family("our", "or", "- s ed ing ings er ers less ful fully able ably al ant some ite ites itism ist ists ism ize ized izes izing hood hoods ly liness y ies",
		`arb ard arm behavi belab cand clam clang col demean discol disfav dishon enam endeav fav ferv flav harb hon hum
		lab misbehavi misdemean multicol neighb od parl ranc rig rum savi sav splend succ technicol tricol tum unfav
		unsav val vap vig watercol`)
	family("re", "er", "- s",
		`amphitheat calib centilit centimet cent epicent fib goit kilomet lit louv lust meag met micromet millilit
		millimet mit reconnoit sab saltpet scept sepulch somb spect theat lacklust`)
	family("ogu", "og", "ed ing", "catal")
	family("ogue", "og", "- s", "anal catal dial epil monol prol")
	family("amme", "am", "- s", "aerogr centigr gr kilogr milligr progr")
	family("ence", "ense", "- s less d", "def off pret lic")
	each := func(from, to, words string) {
		for _, w := range strings.Fields(words) {
			t[w] = strings.Replace(w, from, to, 1)
		}
	}
	each("ae", "e", `aesthete aesthetes aesthetic aesthetically aesthetics anaemia anaemic anaesthesia anaesthetic anaesthetics
		anaesthetist anaesthetists anaesthetize anaesthetized anaesthetizes anaesthetizing archaeological archaeologically
		archaeologist archaeologists archaeology caesarean caesareans encyclopaedia encyclopaedias encyclopaedic faecal faeces
		gynaecological gynaecologist gynaecologists gynaecology haematologist haematology haemoglobin haemophilia haemophiliac
		haemorrhage haemorrhaged haemorrhages haemorrhaging haemorrhoids leukaemia mediaeval orthopaedic orthopaedics
		paediatric paediatrician paediatricians paediatrics paedophile paedophiles paedophilia palaeontologist
		palaeontology primaeval aeon aeons`)
	each("oe", "e", "diarrhoea foetal foetus foetuses gonorrhoea homoeopath homoeopathic homoeopathy oedema oesophagus oestrogen")
	each("oeuvr", "euver", "manoeuvrability manoeuvrable manoeuvred manoeuvring manoeuvrings outmanoeuvred outmanoeuvring")
	each("oeuvre", "euver", "manoeuvre manoeuvres outmanoeuvre outmanoeuvres")
	each("oul", "ol", `mould moulded moulder moulders moulding mouldings moulds mouldy moult moulted moulting moults remould
		remoulded remoulding mouldering smoulder smouldered smouldering smoulders`)
	each("ough", "ow", "plough ploughed ploughing ploughman ploughmen ploughs ploughshare ploughshares snowplough snowploughs")
	each("augh", "af", "draught draughtier draughts draughtsman draughtsmen draughty")
	each("gaol", "jail", "gaol gaolbird gaoled gaoler gaolers gaoling gaols")
	each("ey", "ay", "grey greyed greying greyish greyness greys")
	each("tyre", "tire", "tyre tyres")
	each("yph", "iph", "cypher cyphers syphon syphoned syphoning syphons")
	each("ph", "f", "sulphate sulphates sulphide sulphides sulphur sulphurous")
	each("sc", "sk", "disc discs sceptic sceptical sceptically scepticism sceptics videodisc videodiscs")
	each("cheque", "check", "cheque chequebook chequebooks cheques")
	each("ller", "ler", "crueller jeweller")
	each("ll", "l", `calliper callipers chilli cruellest fillet filleted filleting fillets gruelling libellous marvellous
		marvellously panellist panellists woollen woollens woolly`)
	each("is", "iz", `aggrandisement appetising appetisingly agonisingly annualised motorised organisational patronisingly
		recognisably recognisance tantalisingly`)
	each("s", "z", "cosier cosies cosiest cosily cosiness cosy")
	each("ise", "ice", "practise practised practises")
	each("is", "ic", "practising")
	each("xion", "ction", "connexion connexions inflexion inflexions")
	each("pp", "p", "worshipped worshipper worshippers worshipping")
	each("tte", "t", "epaulette epaulettes omelette omelettes")
	each("mousta", "musta", "moustache moustached moustaches moustachioed")
	each("yogho", "yog", "yoghourt yoghourts")
	each("yogh", "yog", "yoghurt yoghurts")
	each("aero", "air", "aeroplane aeroplanes")
	each("artef", "artif", "artefact artefacts")
	each("pyj", "paj", "pyjama pyjamas")
	each("gg", "g", "waggon waggons")
	each("tonne", "ton", "tonne tonnes")
	each("sse", "se", "busses gasses minibusses")
	each("au", "a", "baulk baulked baulking baulks")
	each("ga", "gau", "gage gaged gages gaging")
	each("au", "u", "flautist flautists")
	each("licenc", "licens", "licencing")
	for british, american := range map[string]string{
		"accoutrements": "accouterments", "ageing": "aging", "bingeing": "binging", "glueing": "gluing", "aluminium": "aluminum", "axe": "ax",
		"behove": "behoove", "centred": "centered", "centrefold": "centerfold", "centrepiece": "centerpiece", "centrepieces": "centerpieces", "gipsies": "gypsies",
		"chequered": "checkered", "clarinettist": "clarinetist", "cancelation": "cancellation",

		"fibreglass": "fiberglass", "glamor": "glamour", "jewellery": "jewelry", "judgement": "judgment",
		"reconnoitred": "reconnoitered", "travelog": "travelogue", "likeable": "likable", "louvred": "louvered", "misspelt": "misspelled", "phoney": "phony", "pouffe": "pouf",
		"sheikh": "sheik", "storey": "story", "storeys": "stories", "theatregoer": "theatergoer", "theatregoers": "theatergoers",
	} {
		t[british] = american
	}
	return t
}
