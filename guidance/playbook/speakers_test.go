package playbook

import (
	"encoding/csv"
	"fmt"
	"os"
	"strings"
	"testing"

	"sidetone/asr"
	"sidetone/guidance"
	"sidetone/guidance/speaker"
	"sidetone/internal/needs"
	"sidetone/internal/pcm"
)

// final is an utterance as a recogniser hears it, without marks of noise.
func final(no int, text string) asr.Hypothesis {
	h := asr.Hypothesis{Utterance: no, Final: true, Start: int64(no) * 10 * pcm.Rate}
	for i, w := range strings.Fields(text) {
		if strings.HasPrefix(w, "[") || strings.HasPrefix(w, "<") {
			continue
		}
		at := h.Start + int64(i)*pcm.Rate/3
		h.Words = append(h.Words, asr.Word{Text: w, Start: at, End: at + pcm.Rate/4})
	}
	return h
}

// tally counts verdicts on calls.
type tally struct{ calls, right, wrong int }

func (s tally) String() string {
	part := func(n int) float64 { return 100 * float64(n) / float64(s.calls) }
	return fmt.Sprintf("%d calls: right %.0f %%, wrong %.0f %%, undecided %.0f %%", s.calls, part(s.right), part(s.wrong), part(s.calls-s.right-s.wrong))
}

// TestWhoSpeaksInHarperValley measures the verdict after the first finals of
// each leg, by the words of a recogniser. The phrases were tuned on every other
// call; the rest are held out.
func TestWhoSpeaksInHarperValley(t *testing.T) {
	pb, err := RetailBank()
	if err != nil {
		t.Fatal(err)
	}
	calls := harper(t)
	for _, n := range []int{1, 2, 3, 5} {
		for half, name := range []string{"tuned on", "held out"} {
			var sum tally
			for i := half; i < len(calls); i += 2 {
				ears := map[string]*speaker.Ear{"agent": speaker.NewEar(pb.Speakers), "caller": speaker.NewEar(pb.Speakers)}
				for j, u := range calls[i].Turns {
					if h := final(j+1, u.ASR); ears[u.Role].Evidence().Finals < n {
						ears[u.Role].Hear(&h)
					}
				}
				vs := speaker.Judge([]speaker.Evidence{ears["agent"].Evidence(), ears["caller"].Evidence()})
				sum.calls++
				switch vs[0].Role {
				case speaker.Agent:
					sum.right++
				case speaker.Customer:
					sum.wrong++
					t.Logf("%s after %d finals: agent taken for customer by %s, customer for agent by %s", calls[i].SID, n, vs[0].Words, vs[1].Words)
				}
			}
			t.Logf("after %d finals of each leg, %s, %v", n, name, sum)
			if sum.wrong > 0 || n >= 3 && 10*sum.right < 9*sum.calls {
				t.Errorf("after %d finals, %s: %v; want none wrong and, from 3 finals on, 90 %% right", n, name, sum)
			}
		}
	}
}

// TestWhoSpeaksInCustomersQuestions listens to one sentence of a customer at a
// time, as a leg of its own: hardly one may sound like an agent.
func TestWhoSpeaksInCustomersQuestions(t *testing.T) {
	pb, err := RetailBank()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(needs.Eval(t, "intent", "banking77", "train.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var sum tally
	for _, row := range rows[1:] {
		e := speaker.NewEar(pb.Speakers)
		h := final(1, row[0])
		e.Hear(&h)
		sum.calls++
		switch v := speaker.Judge([]speaker.Evidence{e.Evidence()}); v[0].Role {
		case speaker.Customer:
			sum.right++
		case speaker.Agent:
			sum.wrong++
			t.Logf("%q by %s", row[0], v[0].Words)
		}
	}
	t.Logf("one sentence alone, %v (%d wrong)", sum, sum.wrong)
	if 1000*sum.wrong > sum.calls {
		t.Errorf("%d of %d customers' sentences sound like an agent; want at most one in a thousand", sum.wrong, sum.calls)
	}
}

// TestWhoSpeaksInReadSpeech gives no verdict on calls that are stitched of read
// sentences, in which nobody is agent or customer.
func TestWhoSpeaksInReadSpeech(t *testing.T) {
	pb, err := RetailBank()
	if err != nil {
		t.Fatal(err)
	}
	var sum tally
	for i := 1; i <= 5; i++ {
		b, err := os.ReadFile(needs.Eval(t, "asr", "calls", fmt.Sprintf("call%02d.turns.tsv", i)))
		if err != nil {
			t.Fatal(err)
		}
		ears := map[string]*speaker.Ear{"agent": speaker.NewEar(pb.Speakers), "customer": speaker.NewEar(pb.Speakers)}
		for no, line := range strings.Split(strings.TrimSpace(string(b)), "\n")[1:] {
			f := strings.Split(line, "\t")
			h := final(no+1, f[len(f)-1])
			ears[f[1]].Hear(&h)
		}
		sum.calls++
		agent, customer := ears["agent"].Evidence(), ears["customer"].Evidence()
		if v := speaker.Judge([]speaker.Evidence{agent, customer}); v[0].Role != "" {
			t.Errorf("call %d: %+v", i, v)
		}
		if agent.Finals < 3 || customer.Finals < 3 {
			t.Errorf("call %d: %d and %d finals are too few to tell", i, agent.Finals, customer.Finals)
		}
	}
	t.Logf("read speech, %v", sum)
}

// TestWhoSpeaks judges calls of a few words each.
func TestWhoSpeaks(t *testing.T) {
	pb, err := Parse("any.yaml", []byte("rules: [{id: a, when: {any: [b]}, card: {kind: alert, element: c}}]"))
	if err != nil {
		t.Fatal(err)
	}
	bank, err := RetailBank()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, a, b string
		want       string // the first leg's role
	}{
		{"greeting", "Thank you for calling Acme, how can I help you today?", "Hi.", "agent"},
		{"both a little", "For security purposes...", "My card was stolen yesterday.", "agent"},
		{"the other way round", "Hi, I lost my card.", "May I have your account number?", "customer"},
		{"wish", "I'd like to change my address, I have a problem with my account.", "Okay.", "customer"},
		{"recorded", "This call is being recorded.", "Okay.", ""},
		{"crosstalk", "How can I help you?", "How can I help you?", ""},
		{"nothing told", "Hello?", "Yes, hello.", ""},
		{"names alone", "My name is Ann.", "My name is Bob.", ""},
		{"Chinese", "您好，感谢您的来电，请问有什么可以帮您？", "我的卡丢了。", "agent"},
		{"Chinese, spaced", "我 想 查 一下 余额", "请 提供 一下 您的 身份证号", "customer"},
		{"Chinese, nothing told", "喂？", "喂，你好。", ""},
	} {
		for name, p := range map[string]*guidance.Playbook{"any": pb, "bank": bank} {
			var legs []speaker.Evidence
			for _, text := range []string{c.a, c.b} {
				e, h := speaker.NewEar(p.Speakers), final(1, text)
				e.Hear(&h)
				legs = append(legs, e.Evidence())
			}
			if v := speaker.Judge(legs); v[0].Role != c.want {
				t.Errorf("%s, %s: %+v, want %q; %+v", c.name, name, v, c.want, legs)
			}
		}
	}
}

// TestSpeakersOfAPlaybook adds a playbook's phrases to those of any, or not.
func TestSpeakersOfAPlaybook(t *testing.T) {
	for _, c := range []struct{ section, said, want string }{
		{"", "how can I help you", "agent:help"},
		{"speakers: {agent: {help: [ahoy]}}\n", "how can I help you", "agent:help"},
		{"speakers: {agent: {help: [ahoy]}}\n", "ahoy", "agent:help"},
		{"speakers: {defaults: false, agent: {help: [ahoy]}}\n", "how can I help you", ""},
		{"speakers: {customer: {sea: [$card overboard @0.3]}}\n", "debit card overboard", "customer:sea"},
	} {
		src := strings.Replace(small, "stages:", c.section+"stages:", 1)
		pb, err := Parse("f.yaml", []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		h := final(1, c.said)
		got := ""
		for _, m := range pb.Speakers.Listen("unknown").Hear(&h) {
			got += m.Intent
		}
		if got != c.want {
			t.Errorf("%q with %q: %q, want %q", c.said, c.section, got, c.want)
		}
	}
	for _, c := range []struct{ section, want string }{
		{"speakers: {boss: {a: [b]}}", `f.yaml:13:12: unknown field "boss"`},
		{"speakers: {agent: {a: []}}", `f.yaml:13:23: group "a" of the agent has no phrases`},
		{"speakers: {agent: {a: [b, '(']}}", `f.yaml:13:27: "agent:a": phrase "("`},
		{"speakers: {customer: {a: ['b @2']}}", `f.yaml:13:27: "customer:a": phrase "b": a score of 2`},
	} {
		_, err := Parse("f.yaml", []byte(strings.Replace(small, "stages:", c.section+"\nstages:", 1)))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.section, err, c.want)
		}
	}
}
