package source

import "strings"

// hamsterHeaders are the headers of Hamster's TSV, in the languages that it
// speaks; a word that is not translated is English there.
//
//nolint:misspell // most of it is no English
const hamsterHeaders = `
activity|start time|end time|duration minutes|category|description|tags
taak|begintyd|eindtyd|duur in minute|kategorie|beskrywing|etikette
النشاط|وقت البدء|وقت الانتهاء|المدة بالدقائق|الفئة|الوصف|وسوم
কাম|আৰম্ভৰ সময়|সমাপ্তিৰ সময়|মিনিটত অৱকাল|বিভাগ|বিৱৰণ|টেগসমূহ
занятак|пачатак|канец|працягласць у хвілінах|катэгорыя|апісанне|цэтлікі
дейност|начало|край|продължителност|категория|описание|етикети
কর্ম|আরম্ভের সময়|সমাপ্তির সময়|অবকাল, মিনিটে ধার্য|বিভাগ|বিবরণ|ট্যাগ
কর্ম|আরম্ভের সময়|সমাপ্তির সময়|অবকাল, মিনিটে ধার্য|বিভাগ|বিবরণ|tags
activitat|hora d'inici|hora de finalització|minuts de durada|categoria|descripció|etiquetes
činnost|čas zahájení|čas ukončení|doba trvání v minutách|kategorie|popis|štítky
aktivitet|starttidspunkt|sluttidspunkt|varighed i minutter|kategori|beskrivelse|mærker
tätigkeit|beginn|ende|dauer in minuten|kategorie|beschreibung|schlagworte
δραστηριότητα|ώρα εκκίνησης|χρόνος ολοκλήρωσης|λεπτά διάρκειας|κατηγορία|περιγραφή|ετικέτες
aktiveco|komenca horo|fina horo|daŭro en minutoj|kategorio|priskribo|etikedoj
actividad|hora de inicio|hora de finalización|duración en minutos|categoría|descripción|etiquetas
tegevus|alustamise aeg|lõpetamise aeg|kestus minutites|kategooria|kirjeldus|sildid
jarduera|hasierako ordua|amaierako ordua|iraupena (minututan)|kategoria|azalpena|etiketak
toimi|aloitusaika|päättymisaika|kesto minuutteina|luokka|kuvaus|tagit
activité|heure de début|heure de fin|durée en minutes|catégorie|description|étiquettes
actividade|tempo inicial|tempo final|duración en minutos|categoría|descrición|etiquetas
પ્રવૃત્તિ|શરૂઆતનો સમય|અંત સમય|મિનિટોનો સમયગાળો|વર્ગ|વર્ણન|ટૅગ
פעילות|זמן ההתחלה|זמן הסיום|משך בדקות|קטגוריה|תיאור|תגיות
गतिविधि|आरंभ समय|अंत समय|अवधि मिनट|श्रेणी|वर्णन|tags
aktivnost|vrijeme početka|vrijeme kraja|trajanje u minutima|kategorija|opis|oznake
tevékenység|kezdési idő|befejezési idő|időtartam percekben|kategória|leírás|címkék
aktivitas|waktu awal|waktu akhir|menit durasi|kategori|deskripsi|tag
attività|inizio|fine|minuti|categoria|descrizione|etichette
活動|開始時間|終了時間|要した時間(分)|カテゴリ|説明|タグ
ಚಟುವಟಿಕೆ|ಆರಂಭದ ಸಮಯ|ಅಂತ್ಯದ ಸಮಯ|ಕಾಲಾವಧಿಯ ನಿಮಿಷಗಳು|ವರ್ಗ|ವಿವರಣೆ|tags
활동|시작 시간|끝 시간|기간 (분)|분류|설명|꼬리표
užsiėmimas|pradžios laikas|pabaigos laikas|trukmė minutėmis|kategorija|aprašymas|žymės
nodarbe|sākuma laiks|beigu laiks|ilgums minūtēs|kategorija|apraksts|birkas
активност|време на почеток|време на крај|времетраење во минути|категорија|опис|етикети
कार्य|सुरवातची वेळ|समाप्तीची वेळ|कार्यकाळ मिनीटे|विभाग|वर्णन|tags
aktivitet|starttid|slutt-tid|varighet minutter|kategori|beskrivelse|tagger
କାର୍ଯ୍ୟକ୍ରମ|ଆରମ୍ଭ ସମୟ|ଶେଷ ସମୟ|ଅବଧି ମିନିଟ|ବିଭାଗ|ବର୍ଣ୍ଣନା|ଟ୍ଯାଗଗୁଡ଼ିକ
ਸਰਗਰਮੀ|ਸ਼ੁਰੂ ਸਮਾਂ|ਅੰਤ ਸਮਾਂ|ਅੰਤਰਾਲ ਮਿੰਟ|ਕੈਟਾਗਰੀ|ਵੇਰਵਾ|ਟੈਗ
czynność|początek|koniec|czas trwania w minutach|kategoria|opis|etykiety
actividade|hora de início|hora de término|duração em minutos|categoria|descrição|etiquetas
atividade|hora de início|hora de término|minutos de duração|categoria|descrição|etiquetas
activitate|timp de începere|timp de terminare|durată în minute|categorie|descriere|etichete
занятие|время начала|время окончания|длительность в минутах|категория|описание|метки
dejavnost|čas pričetka|čas zaključka|trajanje|kategorija|opis|oznake
активност|време почетка|време завршетка|трајање у минутима|категорија|опис|ознаке
aktivnost|vreme početka|vreme završetka|trajanje u minutima|kategorija|opis|oznake
aktivitet|starttid|sluttid|längd i minuter|kategori|beskrivning|taggar
செயல்பாடு|துவக்க நேரம்|முடிவு நேரம்|காலஅளவு நிமிடங்களில்|வகை|விவரணம்|குறிகள் (tags)
కార్యం|ప్రారంభ సమయం|ముగింపు సమయం|నిడివి నిమిషాలలో|వర్గం|వివరణ|కొసలు
etkinlik|başlama zamanı|bitiş zamanı|süreç dakikaları|kategori|açıklama|etiketler
پائالىيەت|باشلىنىش ۋاقتى|ئاخىرلىشىش ۋاقتى|ۋاقتى(مىنۇت)|كاتېگورىيە|چۈشەندۈرۈش|خەتكۈش
діяльність|час початку|час завершення|тривалість (хв.)|категорія|опис|позначки
活动|开始时间|结束时间|持续时间|类别|描述|标签
活動|開始時刻|結束時刻|持續分鐘|分類|描述|標籤
name|start_time|end_time|duration_minutes|category|description|tags
`

// hamsterWords are the spellings of each column of Hamster's export, of which
// the last are the keys of its JSON.
func hamsterWords() (words [7][]string) {
	for line := range strings.Lines(hamsterHeaders[1:]) {
		for i, w := range strings.Split(strings.TrimSpace(line), "|") {
			words[i] = append(words[i], fold(w))
		}
	}
	return words
}
