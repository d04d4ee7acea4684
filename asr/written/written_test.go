package written

import (
	"slices"
	"strings"
	"testing"

	"sidetone/asr"
)

// words makes one word a second.
func words(text string) []asr.Word {
	var ws []asr.Word
	for i, w := range strings.Fields(text) {
		ws = append(ws, asr.Word{Text: w, Start: int64(i) * 16000, End: int64(i)*16000 + 8000})
	}
	return ws
}

func describe(spans []Span) string {
	var parts []string
	for _, s := range spans {
		parts = append(parts, s.Kind.String()+" "+s.Value)
	}
	return strings.Join(parts, "; ")
}

// cases: what is said, what is written, what was found.
var cases = []struct{ said, written, found string }{
	// Numbers.
	{"twenty five people", "25 people", "number 25"},
	{"twenty-five people", "25 people", "number 25"},
	{"a hundred and five", "105", "number 105"},
	{"one hundred", "100", "number 100"},
	{"one thousand two hundred and thirty", "1,230", "number 1230"},
	{"One thousand, two hundred and thirty.", "1,230.", "number 1230"},
	{"twelve hundred", "1,200", "number 1200"},
	{"forty five hundred", "4,500", "number 4500"},
	{"two hundred and fifty thousand three hundred and twelve", "250,312", "number 250312"},
	{"two million", "2 million", "number 2000000"},
	{"two point five million", "2.5 million", "number 2500000"},
	{"one million two hundred thousand", "1,200,000", "number 1200000"},
	{"a thousand and one nights", "1,001 nights", "number 1001"},
	{"three point one four", "3.14", "number 3.14"},
	{"zero point five", "0.5", "number 0.5"},
	{"version ten point fifteen", "version 10.15", "number 10.15"},
	{"two thousand and twenty four", "2,024", "number 2024"},
	{"ten", "10", "number 10"},
	{"It is 25, not 1,230 or 3.5.", "It is 25, not 1,230 or 3.5.", "number 25; number 1230; number 3.5"},
	{"3 thousand", "3 thousand", "number 3000"},
	{"I have a hundred and twenty and you have fifty", "I have 120 and you have 50", "number 120; number 50"},
	{"two hundred and two hundred", "200 and 200", "number 200; number 200"},
	// Ordinals.
	{"the twenty third floor", "the 23rd floor", "ordinal 23"},
	{"the twenty first century", "the 21st century", "ordinal 21"},
	{"her fifteenth birthday", "her 15th birthday", "ordinal 15"},
	{"on the twelfth", "on the 12th", "ordinal 12"},
	{"the 3rd time", "the 3rd time", "ordinal 3"},
	{"the thirtieth", "the 30th", "ordinal 30"},
	// Money.
	{"twenty five dollars", "$25", "money USD 2500"},
	{"It's $25.", "It's $25.", "money USD 2500"},
	{"one dollar", "$1", "money USD 100"},
	{"$1,250.00 today", "$1,250.00 today", "money USD 125000"},
	{"two pounds fifty", "£2.50", "money GBP 250"},
	{"two pounds fifty please", "£2.50 please", "money GBP 250"},
	{"two dollars and five cents", "$2.05", "money USD 205"},
	{"twenty five dollars and ten cents", "$25.10", "money USD 2510"},
	{"fifty cents", "$0.50", "money USD 50"},
	{"fifty pence", "£0.50", "money GBP 50"},
	{"a hundred dollars", "$100", "money USD 10000"},
	{"a hundred and forty three dollars", "$143", "money USD 14300"},
	{"twenty five hundred dollars", "$2,500", "money USD 250000"},
	{"25 dollars", "$25", "money USD 2500"},
	{"25.5 dollars", "$25.50", "money USD 2550"},
	{"two million dollars", "$2 million", "money USD 200000000"},
	{"2.5 million euros", "€2.5 million", "money EUR 250000000"},
	{"$2 million", "$2 million", "money USD 200000000"},
	{"thirty quid", "£30", "money GBP 3000"},
	{"twenty bucks", "$20", "money USD 2000"},
	{"ninety nine euros and ninety nine cents", "€99.99", "money EUR 9999"},
	{"three hundred yuan", "¥300", "money CNY 30000"},
	{"five thousand yen", "JP¥5,000", "money JPY 5000"},
	{"fifty US dollars", "$50", "money USD 5000"},
	{"£2.50 and €3", "£2.50 and €3", "money GBP 250; money EUR 300"},
	{"ten dollars and two cards", "$10 and two cards", "money USD 1000"},
	{"three dollars a month", "$3 a month", "money USD 300"},
	// Percent.
	{"twenty five percent", "25%", "percent 25"},
	{"five per cent", "5%", "percent 5"},
	{"point five percent", "0.5%", "percent 0.5"},
	{"three point five percent", "3.5%", "percent 3.5"},
	{"25%", "25%", "percent 25"},
	{"4.5 percent", "4.5%", "percent 4.5"},
	{"a hundred percent", "100%", "percent 100"},
	{"one percent", "1%", "percent 1"},
	{"two and a half percent", "2.5%", "percent 2.5"},
	{"It's two and a half percent.", "It's 2.5%.", "percent 2.5"},
	{"twenty two and a half per cent", "22.5%", "percent 22.5"},
	{"two hundred and a half percent", "200.5%", "percent 200.5"},
	{"2 and a half percent", "2.5%", "percent 2.5"},
	{"two point five and a half percent", "2.5 and a half percent", "number 2.5"},
	{"ten and a half people", "10 and a half people", "number 10"},
	{"twenty percent and a half percent", "20% and a half percent", "percent 20"},
	// Dates.
	{"the twenty third of March twenty twenty four", "the 23rd of March 2024", "date 2024-03-23"},
	{"March 3rd", "March 3rd", "date --03-03"},
	{"March third", "March 3rd", "date --03-03"},
	{"on March the third", "on March the 3rd", "date --03-03"},
	{"March 3, 2024", "March 3, 2024", "date 2024-03-03"},
	{"on March twenty third twenty twenty four", "on March 23rd 2024", "date 2024-03-23"},
	{"the first of may", "the 1st of May", "date --05-01"},
	{"May 5th", "May 5th", "date --05-05"},
	{"on May fifth", "on May 5th", "date --05-05"},
	{"may the fourth", "May the 4th", "date --05-04"},
	{"twelve December nineteen eighty four", "12 December 1984", "date 1984-12-12"},
	{"third january two thousand and six", "3rd January 2006", "date 2006-01-03"},
	{"June nineteen ninety", "June 1990", "date 1990-06"},
	{"in June 2026", "in June 2026", "date 2026-06"},
	{"nineteen eighty four", "1984", "date 1984"},
	{"nineteen oh five", "1905", "date 1905"},
	{"in twenty twenty four we moved", "in 2024 we moved", "date 2024"},
	{"twenty ten", "2010", "date 2010"},
	{"2024-03-05", "2024-03-05", "date 2024-03-05"},
	{"born 23/05/1984", "born 23/05/1984", "date 1984-05-23"},
	{"born 05/23/1984", "born 05/23/1984", "date 1984-05-23"},
	{"born 05/06/1984", "born 05/06/1984", "date 1984"},
	{"october tenth", "October 10th", "date --10-10"},
	{"the thirty first of October", "the 31st of October", "date --10-31"},
	{"3 June", "3 June", "date --06-03"},
	// Times.
	{"half past three", "3:30", "time 03:30"},
	{"half past three in the afternoon", "3:30 in the afternoon", "time 15:30"},
	{"quarter past ten", "10:15", "time 10:15"},
	{"a quarter to one", "a 12:45", "time 12:45"},
	{"quarter to three pm", "2:45 pm", "time 14:45"},
	{"ten past four", "4:10", "time 04:10"},
	{"twenty five past six", "6:25", "time 06:25"},
	{"ten minutes to five", "4:50", "time 04:50"},
	{"at ten to five", "at 4:50", "time 04:50"},
	{"three o'clock", "3:00", "time 03:00"},
	{"three o'clock in the morning", "3:00 in the morning", "time 03:00"},
	{"three pm", "3 pm", "time 15:00"},
	{"three p.m.", "3 pm", "time 15:00"},
	{"twelve am", "12 am", "time 00:00"},
	{"three thirty pm", "3:30 pm", "time 15:30"},
	{"at three thirty", "at 3:30", "time 03:30"},
	{"by nine oh five", "by 9:05", "time 09:05"},
	{"at eleven forty five tomorrow", "at 11:45 tomorrow", "time 11:45"},
	{"3:30", "3:30", "time 03:30"},
	{"3:30 p.m.", "3:30 pm", "time 15:30"},
	{"3:30pm", "3:30pm", "time 15:30"},
	{"3pm", "3pm", "time 15:00"},
	{"eight p m", "8 pm", "time 20:00"},
	{"at 14:05", "at 14:05", "time 14:05"},
	{"at 14 05", "at 14:05", "time 14:05"},
	{"ten to nine in the evening", "8:50 in the evening", "time 20:50"},
	{"25 past 23", "23:25", "time 23:25"},
	{"nine thirty in the evening", "9:30 in the evening", "time 21:30"},
	{"40€ or 6000$", "40€ or 6000$", "money EUR 4000; money USD 600000"},
	{"on Apr 7th 2014", "on Apr 7th 2014", "date 2014-04-07"},
	{"nine at night", "nine at night", ""},
	{"nine thirty am at the branch", "9:30 am at the branch", "time 09:30"},
	// Digits, telephone and card numbers.
	{"five five five oh one two three", "5550123", "digits 5550123"},
	{"my phone number is five five five oh one two three", "my phone number is 555-0123", "phone 5550123"},
	{"four one five", "415", "digits 415"},
	{"double seven", "77", "digits 77"},
	{"four one five five five five oh one double two", "415-555-0122", "phone 4155550122"},
	{"four one five, five five five, oh one two three", "415-555-0123", "phone 4155550123"},
	{"415 555 0123", "415-555-0123", "phone 4155550123"},
	{"415-555-0123", "415-555-0123", "phone 4155550123"},
	{"call one four one five five five five oh one two three", "call 1-415-555-0123", "phone 14155550123"},
	{"oh seven seven double oh nine double oh one two three", "07700 900123", "phone 07700900123"},
	{"oh two oh seven nine four six oh nine five eight", "020 7946 0958", "phone 02079460958"},
	{"+44 20 7946 0958", "+44 20 7946 0958", "phone +442079460958"},
	{"one three eight oh oh one three eight oh oh oh", "138 0013 8000", "phone 13800138000"},
	{"account number one two three four five six seven eight", "account number 12345678", "digits 12345678"},
	{"account number is 12345678", "account number is 12345678", "digits 12345678"},
	{"sort code two oh four five double seven", "sort code 20-45-77", "digits 204577"},
	{"triple two nine", "2229", "digits 2229"},
	{"order number four five six nine", "order number 4569", "digits 4569"},
	{"four five three nine one four eight eight oh three four three six four six seven", "4539 1488 0343 6467", "card 4539148803436467"},
	{"4539 1488 0343 6467", "4539 1488 0343 6467", "card 4539148803436467"},
	{"4539148803436467", "4539 1488 0343 6467", "card 4539148803436467"},
	{"three seven one four four nine six three five three nine eight four three one", "3714 496353 98431", "card 371449635398431"},
	{"card number forty five thirty nine fourteen eighty eight zero three forty three sixty four sixty seven", "card number 4539 1488 0343 6467", "card 4539148803436467"},
	{"my zip is nine four one one oh", "my zip is 94110", "digits 94110"},
	{"room 4 1 5", "room 415", "digits 415"},
	// Addresses and names.
	{"john dot smith at example dot com", "john.smith@example.com", "email john.smith@example.com"},
	{"it's john smith twenty five at g mail dot com", "it's john smith25@gmail.com", "email smith25@gmail.com"},
	{"j dot smith underscore one at mail dot example dot co dot uk thanks", "j.smith_1@mail.example.co.uk thanks", "email j.smith_1@mail.example.co.uk"},
	{"write to John.Smith@example.com.", "write to john.smith@example.com.", "email john.smith@example.com"},
	{"anna at example dot org", "anna@example.org", "email anna@example.org"},
	{"a b c one at example dot net", "abc1@example.net", "email abc1@example.net"},
	{"S M I T H", "SMITH", "spelled SMITH"},
	{"that's S-M-I-T-H.", "that's SMITH.", "spelled SMITH"},
	{"S as in sugar M as in mike I T H", "SMITH", "spelled SMITH"},
	{"S as in sugar M as in mike I as in india T H", "SMITH", "spelled SMITH"},
	{"B for bravo E R for romeo", "BER", "spelled BER"},
	{"P A double T", "PATT", "spelled PATT"},
	{"S W one A one A A", "SW1A 1AA", "postcode SW1A 1AA"},
	{"M one one A E please", "M1 1AE please", "postcode M1 1AE"},
	{"reference A B one two three four", "reference AB1234", "spelled AB1234"},
	// Chinese.
	{"一百二十三块五", "¥123.50", "money CNY 12350"},
	{"我付了一百二十三块五毛钱", "我付了¥123.50钱", "money CNY 12350"},
	{"二十块钱", "¥20", "money CNY 2000"},
	{"五百元", "¥500", "money CNY 50000"},
	{"三块两个", "¥3两个", "money CNY 300"},
	{"两万三千块", "¥23000", "money CNY 2300000"},
	{"五十美元", "$50", "money USD 5000"},
	{"3万元", "¥3万", "money CNY 3000000"},
	{"五毛", "¥0.50", "money CNY 50"},
	{"一千二百人民币", "¥1200", "money CNY 120000"},
	{"百分之五", "5%", "percent 5"},
	{"百分之三点五", "3.5%", "percent 3.5"},
	{"百分之百", "100%", "percent 100"},
	{"三月五号下午三点半", "3月5号下午3:30", "date --03-05; time 15:30"},
	{"二零二四年三月五日", "2024年3月5日", "date 2024-03-05"},
	{"十二月三十一号", "12月31号", "date --12-31"},
	{"二零二四年", "2024年", "date 2024"},
	{"2024年3月5日", "2024年3月5日", "date 2024-03-05"},
	{"3月5号", "3月5号", "date --03-05"},
	{"上午十点", "上午10:00", "time 10:00"},
	{"晚上八点二十", "晚上8:20", "time 20:20"},
	{"三点一刻", "3:15", "time 03:15"},
	{"三点零五分", "3:05", "time 03:05"},
	{"十点钟", "10:00", "time 10:00"},
	{"幺三八零零一三八零零零", "138 0013 8000", "phone 13800138000"},
	{"我的电话是幺三八 零零一三 八零零零", "我的电话是138 0013 8000", "phone 13800138000"},
	{"尾号六四六七", "尾号6467", "digits 6467"},
	{"一百二十三个人", "123个人", "number 123"},
	{"一百五", "150", "number 150"},
	{"三万五", "35000", "number 35000"},
	{"一千零五", "1005", "number 1005"},
	{"三点一四", "3.14", "number 3.14"},
	{"二点五亿", "2.5亿", "number 250000000"},
	{"一百二十亿", "120亿", "number 12000000000"},
	{"三万", "3万", "number 30000"},
	{"二十", "20", "number 20"},
	{"第十五", "第15", "number 15"},
}

// stay are texts in which nothing is found.
var stay = []string{
	"one of them", "the other one", "one more thing", "no one knows", "I have one", "a new one",
	"second thoughts", "just a second", "one second please", "the first time", "first of all", "third party", "a third of it",
	"for you", "to go", "too late", "I ate it", "oh no", "oh I see", "oh", "won it", "tree house",
	"may", "may I help you", "you may go", "I may not", "march on", "we march to the bank", "it may be", "five may go",
	"a minute", "a dollar", "a few", "a hundred", "a thousand times", "hundreds of people", "thousands", "millions of them",
	"a quarter", "half of it", "half an hour", "quarter of an hour", "quarter to", "half past",
	"two", "three of us", "four five", "six or seven", "seven eight", "one two", "two cards", "nine lives",
	"two fifty", "six thirty", "ten twenty", "or so people",
	"at this point", "the point is", "point taken", "to the point one made", "bullet point",
	"two and a half", "two and a half hours", "two and a half percentage points", "two and half percent", "two, and a half percent",
	"two and a half, percent", "one and a half of it", "a half percent", "and a half percent", "half percent", "two and a halfpercent",
	"two or a half percent", "two and the half percent",
	"percent", "the percentage", "cents", "pounds of flour", "two pounds of flour", "press the pound key", "dollar",
	"double check", "double room", "triple trouble", "double it", "double the amount",
	"am I right", "I am here", "three am I right", "a m", "p m",
	"I B", "U K", "a i", "I a", "A B", "I I", "x", "plan b", "vitamin c", "t shirt",
	"as in sugar", "for sugar", "b to b",
	"look at example dot com", "go to example dot com", "email me at example dot com", "at example", "meet at noon", "me at home dot",
	"five minutes to two hours", "he is at work", "dot com", "at", "john at the bank",
	"zero", "nought", "oh oh", "nil", "none",
	"january", "in june", "next may", "august body", "december",
	"no thanks", "••••", "my card is •••• ••••", "[noise]", "<unk>", "", "…", "-", "$", "£", "%", "+",
	"tens of them", "teens", "the twenties", "anyone", "someone", "often", "weight", "fort",
	"nine one", "five o", "hour", "o'clock",
	// Chinese.
	"十分感谢", "万一", "千万别", "一个", "一下", "一些", "三个", "两张卡", "一定", "第一", "星期三", "一样", "二三十", "七八百", "三四个",
	"三点建议", "几十", "十几个", "百货", "一起", "不一样", "一点", "有一点", "三月", "号", "点", "块", "百分", "统一", "五", "四五个",
}

func TestFind(t *testing.T) {
	for _, c := range cases {
		ws := words(c.said)
		spans := Find(ws, "")
		text := Render(ws, spans)
		if text != c.written || describe(spans) != c.found {
			t.Errorf("%q\n got %q: %s\nwant %q: %s", c.said, text, describe(spans), c.written, c.found)
		}
		check(t, ws, spans)
		again := words(text)
		if twice := Render(again, Find(again, "")); twice != text {
			t.Errorf("%q was written %q, and that %q", c.said, text, twice)
		}
	}
	for _, said := range stay {
		if spans := Find(words(said), ""); len(spans) > 0 {
			t.Errorf("%q: found %s in it", said, describe(spans))
		}
	}
	if len(stay) < len(cases)*3/4 {
		t.Errorf("%d cases of nothing beside %d of something", len(stay), len(cases))
	}
}

func TestTexts(t *testing.T) {
	ws := words("so twenty five dollars, please 我付了一百 二十块钱吧 ok")
	got := Texts(ws, Find(ws, ""))
	want := []string{"so", "$25,", "", "", "please", "我付了¥120吧", "", "ok"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The times of a span are those of its words, wherever in them it lies.
func TestTimes(t *testing.T) {
	ws := words("pay twenty five dollars now")
	spans := Find(ws, "en")
	if len(spans) != 1 || spans[0].First != 1 || spans[0].Last != 3 || spans[0].Start != 16000 || spans[0].End != 3*16000+8000 {
		t.Errorf("got %+v", spans)
	}
}

// check sees that spans are in order and within their words.
func check(t *testing.T, ws []asr.Word, spans []Span) {
	t.Helper()
	word, byt := 0, 0
	for _, s := range spans {
		if s.First < word || s.First == word && s.From < byt || s.Last < s.First || s.Last >= len(ws) || s.To > len(ws[s.Last].Text) ||
			s.First == s.Last && s.To <= s.From || s.Kind.String() == "" || s.Text == "" || s.Value == "" {
			t.Fatalf("span %+v", s)
		}
		if s.Start != ws[s.First].Start || s.End != ws[s.Last].End {
			t.Errorf("span %+v has other times than its words", s)
		}
		word, byt = s.Last, s.To
	}
}

func FuzzFind(f *testing.F) {
	for _, c := range cases {
		f.Add(c.said)
		f.Add(c.written)
	}
	for _, said := range stay {
		f.Add(said)
	}
	f.Fuzz(func(t *testing.T, said string) {
		ws := words(said)
		for _, language := range []string{"", "en", "zh", "de"} {
			spans := Find(ws, language)
			check(t, ws, spans)
			if len(spans) == 0 && Render(ws, spans) != strings.Join(strings.Fields(said), " ") {
				t.Errorf("%q was changed to %q", said, Render(ws, spans))
			}
		}
	})
}

// What has been written once is written the same again, even where words are
// thrown together as nobody would say them, but for one such row in a thousand:
// figures that came to stand side by side may then be taken for one number.
func TestWrittenTwice(t *testing.T) {
	vocabulary := strings.Fields("one two three oh five ten fifteen twenty forty hundred thousand million and a point percent dollars pounds cents " +
		"past to half quarter at pm am o'clock March may the of third twenty-third first double 25 1984 3 415 $5 3:30 50% 3rd, dot com S M I I'm, please. phone card")
	const rows = 5000
	seed, changed := uint64(1), 0
	for range rows {
		var b strings.Builder
		for range 10 {
			seed = seed*6364136223846793005 + 1442695040888963407
			b.WriteString(vocabulary[seed>>33%uint64(len(vocabulary))] + " ")
		}
		ws := words(b.String())
		spans := Find(ws, "")
		check(t, ws, spans)
		once := Render(ws, spans)
		ws = words(once)
		if twice := Render(ws, Find(ws, "")); twice != once {
			if changed++; changed <= 5 {
				t.Logf("%q was written %q, and that %q", b.String(), once, twice)
			}
		}
	}
	t.Logf("%d of %d rows", changed, rows)
	if changed > rows/1000 {
		t.Errorf("%d of %d rows were written otherwise the second time", changed, rows)
	}
}

var sink []Span

func BenchmarkFind(b *testing.B) {
	ws := words("hi my name is patricia brown and I would like to pay a bill because the letter you sent says that one hundred and forty two " +
		"dollars fifty are due on the third of May and my number is four one five five five five oh one two three")
	b.ReportAllocs()
	for b.Loop() {
		sink = Find(ws, "en")
	}
}
