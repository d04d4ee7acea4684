package push

import (
	"encoding/json"
	"strings"
	"testing"
)

var inboundCases = []struct {
	name, text string
	problem    string // part of the error, empty for good messages
}{
	{"ack", `{"type":"ack","call":"c","card":"k","received_ms":1203.1,"painted_ms":1231.4}`, ""},
	{"ack at once", `{"type":"ack","call":"c","card":"k","received_ms":0,"painted_ms":0}`, ""},
	{"action used", `{"type":"action","call":"c","card":"k","action":"used"}`, ""},
	{"action dismissed", `{"type":"action","call":"c","card":"k","action":"dismissed"}`, ""},
	{"action wrong", `{"type":"action","call":"c","card":"k","action":"wrong"}`, ""},
	{"search", `{"type":"search","id":7,"text":"overdraft fee","language":"en-GB"}`, ""},
	{"search in any language", `{"type":"search","id":7,"text":"手续费"}`, ""},
	{"swap", `{"type":"swap","call":"c"}`, ""},
	{"swap of nothing", `{"type":"swap"}`, "swap: call must have"},
	{"ping", `{"type":"ping","id":3}`, ""},
	{"unknown field", `{"type":"ping","id":3,"later":true}`, ""},
	{"empty", ``, "not a JSON message"},
	{"cut off", `{"type":"ping"`, "not a JSON message"},
	{"two values", `{"type":"ping"}{}`, "not a JSON message"},
	{"array", `[]`, "not a JSON message"},
	{"wrong field type", `{"type":"ping","id":"3"}`, "not a JSON message"},
	{"no type", `{}`, `type ""`},
	{"null", `null`, `type ""`},
	{"unknown type", `{"type":"shutdown"}`, `type "shutdown"`},
	{"ack of nothing", `{"type":"ack","received_ms":1,"painted_ms":2}`, "call and card"},
	{"ack backwards", `{"type":"ack","call":"c","card":"k","received_ms":2,"painted_ms":1}`, "not two times in order"},
	{"ack before time", `{"type":"ack","call":"c","card":"k","received_ms":-2,"painted_ms":-1}`, "not two times in order"},
	{"ack in a million years", `{"type":"ack","call":"c","card":"k","received_ms":1,"painted_ms":1e300}`, "not two times in order"},
	{"long card", `{"type":"ack","call":"c","card":"` + strings.Repeat("k", 129) + `","painted_ms":1}`, "call and card"},
	{"action live", `{"type":"action","call":"c","card":"k","action":"live"}`, `action "live"`},
	{"action withdrawn", `{"type":"action","call":"c","card":"k","action":"withdrawn"}`, `action "withdrawn"`},
	{"search for nothing", `{"type":"search","id":1,"text":""}`, "0 characters"},
	{"long search", `{"type":"search","id":1,"text":"` + strings.Repeat("费", 201) + `"}`, "201 characters"},
	{"no language", `{"type":"search","id":1,"text":"x","language":"<b>"}`, "language"},
	{"long language", `{"type":"search","id":1,"text":"x","language":"` + strings.Repeat("e", 36) + `"}`, "language"},
	{"negative id", `{"type":"ping","id":-1}`, "negative"},
}

func TestParseInbound(t *testing.T) {
	for _, c := range inboundCases {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseInbound([]byte(c.text))
			switch {
			case c.problem == "" && err != nil:
				t.Fatalf("refused: %v", err)
			case c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)):
				t.Fatalf("error %v, want one with %q", err, c.problem)
			}
		})
	}
}

// FuzzParseInbound checks that whatever is accepted is within bounds and stays
// the same message when written and read again.
func FuzzParseInbound(f *testing.F) {
	for _, c := range inboundCases {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseInbound(b)
		if err != nil {
			return
		}
		switch m.Type {
		case "ack":
			if d := m.PaintedMS - m.ReceivedMS; !(d >= 0 && d <= maxClockMS) {
				t.Fatalf("delay %g ms", d)
			}
			fallthrough
		case "action":
			if m.Call == "" || m.Card == "" || len(m.Call) > maxName || len(m.Card) > maxName {
				t.Fatalf("names %q, %q", m.Call, m.Card)
			}
		case "search":
			if m.Text == "" || len(m.Text) > 4*maxQuery {
				t.Fatalf("text %q", m.Text)
			}
		case "pause", "swap":
			if m.Call == "" || len(m.Call) > maxName {
				t.Fatalf("call %q", m.Call)
			}
		case "ping":
		default:
			t.Fatalf("type %q", m.Type)
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if m2, err := parseInbound(again); err != nil || m2 != m {
			t.Fatalf("%+v became %+v, %v", m, m2, err)
		}
	})
}
