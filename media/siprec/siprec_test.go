package siprec_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sidetone/media/sdp"
	"sidetone/media/siprec"
)

var update = flag.Bool("update", false, "write the golden files")

// fixture is one of testdata's requests: a Content-Type and a body.
func fixture(tb testing.TB, name string) (contentType string, body []byte) {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
	if err != nil {
		tb.Fatal(err)
	}
	head, body, _ := bytes.Cut(b, []byte("\n\n"))
	return strings.TrimPrefix(string(head), "Content-Type: "), body
}

var vendors = []string{"audiocodes", "avaya", "broadworks", "cube", "opensips", "opensips-old", "oracle", "rfc", "ribbon", "rtpengine"}

// apply reads a request as the server does.
func apply(r *siprec.Recording, contentType string, body []byte) (*siprec.Body, []siprec.Change, error) {
	b, err := siprec.ParseBody(contentType, body)
	if err != nil {
		return nil, nil, err
	}
	var offer *sdp.Session
	if b.SDP != nil {
		if offer, err = sdp.Parse(b.SDP); err != nil {
			return b, nil, err
		}
	}
	var doc *siprec.Metadata
	if b.Metadata != nil {
		if doc, err = siprec.ParseMetadata(b.Metadata); err != nil {
			return b, nil, err
		}
	}
	return b, r.Apply(offer, doc, func(int) bool { return true }), nil
}

func describe(r *siprec.Recording) string {
	var s strings.Builder
	for _, l := range r.Legs() {
		fmt.Fprintf(&s, "line %d label=%s open=%t held=%t mixed=%t\n  identity=%s name=%q party=%v\n  reason=%s\n",
			l.Index, l.Label, l.Open, l.Held, l.Mixed, l.Identity, l.Name, l.Party, l.Reason)
	}
	facts := r.Facts()
	for _, k := range slices.Sorted(maps.Keys(facts)) {
		fmt.Fprintf(&s, "fact %s=%s\n", k, facts[k])
	}
	fmt.Fprintf(&s, "external=%s\n", r.External())
	for _, w := range r.Warnings() {
		fmt.Fprintf(&s, "warning %s\n", w)
	}
	return s.String()
}

// TestVendors reads a request in the manner of each known recorder, with both
// kinds of line ends.
func TestVendors(t *testing.T) {
	for _, v := range vendors {
		for _, crlf := range []bool{true, false} {
			t.Run(fmt.Sprintf("S5 %s crlf=%t", v, crlf), func(t *testing.T) {
				contentType, body := fixture(t, v)
				if crlf {
					body = bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n"))
				}
				var r siprec.Recording
				if _, _, err := apply(&r, contentType, body); err != nil {
					t.Fatal(err)
				}
				got := describe(&r)
				golden := filepath.Join("testdata", v+".golden")
				if *update {
					if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
			})
		}
	}
}

const (
	plainSDP = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\na=label:1\r\na=sendonly\r\nm=audio 4002 RTP/AVP 8\r\na=label:2\r\na=sendonly"
	plainXML = `<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode></recording>`
)

func TestParseBody(t *testing.T) {
	xmlPart := "--b\r\nContent-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n" + plainXML + "\r\n"
	sdpPart := "--b\r\nContent-Type: application/sdp\r\n\r\n" + plainSDP + "\r\n"
	both := sdpPart + xmlPart + "--b--\r\n"
	for _, c := range []struct{ name, contentType, body string }{
		{"S6 plain", "multipart/mixed;boundary=b", both},
		{"S6 metadata first", "multipart/mixed;boundary=b", xmlPart + sdpPart + "--b--"},
		{"S6 no final boundary", "multipart/mixed;boundary=b", sdpPart + xmlPart},
		{"S6 cut off after the XML", "multipart/mixed;boundary=b", strings.TrimSuffix(sdpPart+xmlPart, "\r\n")},
		{"S6 LF only", "multipart/mixed;boundary=b", strings.ReplaceAll(both, "\r\n", "\n")},
		{"S6 extra part", "multipart/mixed;boundary=b", sdpPart + "--b\r\nContent-Type: application/gtd\r\nContent-Disposition: signal;handling=optional\r\n\r\nGCI\r\n" + xmlPart + "--b--"},
		{"preamble and epilogue", "multipart/mixed;boundary=b", "  \r\nhello\r\n" + both + "bye"},
		{"white space after a boundary", "multipart/mixed;boundary=b", strings.ReplaceAll(both, "--b\r\n", "--b \t\r\n")},
		{"quoted boundary, more parameters", `Multipart/MIXED ; charset=utf-8;boundary="b";x`, both},
		{"boundary in upper case name", `multipart/mixed;x;BOUNDARY=b`, both},
		{"no boundary parameter", "multipart/mixed", both},
		{"nested", "multipart/mixed;boundary=o", "--o\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n" + both + "\r\n--o--"},
		{"type without +xml", "multipart/mixed;boundary=b", strings.ReplaceAll(both, "rs-metadata+xml", "rs-metadata")},
		{"broken type", "multipart/mixed;boundary=b", strings.ReplaceAll(both, "rs-metadata+xml", " +xml")},
		{"no part headers", "multipart/mixed;boundary=b", "--b\r\n\r\n" + plainSDP + "\r\n--b\r\n" + plainXML + "\r\n--b--"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := siprec.ParseBody(c.contentType, []byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimSpace(strings.ReplaceAll(string(b.SDP), "\r\n", "\n")); got != strings.ReplaceAll(plainSDP, "\r\n", "\n") {
				t.Errorf("description %q", got)
			}
			if got := strings.TrimSpace(string(b.Metadata)); got != plainXML {
				t.Errorf("metadata %q", got)
			}
		})
	}
}

func TestParseBodyOthers(t *testing.T) {
	b, err := siprec.ParseBody("application/sdp", []byte(plainSDP))
	if err != nil || b.SDP == nil || b.Metadata != nil {
		t.Errorf("description alone: %+v, %v", b, err)
	}
	b, err = siprec.ParseBody("multipart/mixed;boundary=b", []byte("--b\r\nContent-Type: application/rs-metadata+xml\r\n\r\n\r\n--b\r\nContent-Type: application/sdp\r\n\r\n"+plainSDP+"\r\n--b--"))
	if err != nil || b.SDP == nil || b.Metadata == nil || len(b.Metadata) != 0 {
		t.Errorf("1.11.14, empty metadata: %+v, %v", b, err)
	}
	if b, err := siprec.ParseBody("", nil); err != nil || b.SDP != nil {
		t.Errorf("nothing: %+v, %v", b, err)
	}
	b, err = siprec.ParseBody("application/rs-metadata-request", []byte("<requestsnapshot/>"))
	if err != nil || !b.SnapshotRequested {
		t.Errorf("snapshot request: %+v, %v", b, err)
	}
	for body, want := range map[string]byte{"Signal=5\r\nDuration=160": '5', "Signal= *": '*', "7": '7', "11": '#', "Signal=d": 'D', "Signal=55": 0, "": 0} {
		b, err := siprec.ParseBody("application/dtmf-relay", []byte(body+" "))
		if err != nil || b.DTMF != want {
			t.Errorf("%q: digit %q, %v; want %q", body, b.DTMF, err, want)
		}
	}
}

func TestParseBodyRefuses(t *testing.T) {
	deep := plainSDP
	for i := range 6 {
		deep = fmt.Sprintf("--x%d\r\nContent-Type: multipart/mixed;boundary=x%d\r\n\r\n%s\r\n", i, i-1, deep)
	}
	for _, c := range []struct {
		name, contentType, body string
		is                      error
		want                    string
	}{
		{"unknown", "text/plain", "hello", siprec.ErrContentType, "text/plain"},
		{"1.11.15 large", "application/sdp", strings.Repeat("a", siprec.MaxBody+1), siprec.ErrTooLarge, "bytes"},
		{"large metadata", "application/rs-metadata+xml", "<recording>" + strings.Repeat("a", siprec.MaxMetadata), siprec.ErrTooLarge, "metadata"},
		{"required part", "multipart/mixed;boundary=b", "--b\r\nContent-Type: application/foo\r\nContent-Disposition: x;handling=required\r\n\r\nfoo\r\n--b--", siprec.ErrContentType, "application/foo"},
		{"nesting", "multipart/mixed;boundary=x5", deep, siprec.ErrTooLarge, "deep"},
		{"parts", "multipart/mixed;boundary=b", strings.Repeat("--b\r\nContent-Type: a/b\r\n\r\nx\r\n", 20), siprec.ErrTooLarge, "parts"},
		{"no boundary", "multipart/mixed", "hello", nil, "without a boundary"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := siprec.ParseBody(c.contentType, []byte(c.body))
			if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestParseMetadataRefuses(t *testing.T) {
	for _, c := range []struct{ name, doc, want string }{
		{"S19 document type", `<!DOCTYPE recording [<!ENTITY a "b">]><recording>&a;</recording>`, "document type"},
		{"empty", "", "no element"},
		{"not closed", "<recording><session>", "not closed"},
		{"crossed", "<recording><session></recording></session>", "closes nothing"},
		{"two roots", "<recording/><recording/>", "second root"},
		{"another document", "<html/>", "not a <recording>"},
		{"deep", "<recording>" + strings.Repeat("<a>", 40), "deep"},
		{"many", "<recording>" + strings.Repeat("<a/>", 5000) + "</recording>", "elements"},
		{"encoding", `<?xml version="1.0" encoding="EBCDIC"?><recording/>`, "UTF-8"},
		{"large", "<recording>" + strings.Repeat(" ", siprec.MaxMetadata) + "</recording>", "bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if m, err := siprec.ParseMetadata([]byte(c.doc)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v, %v; want an error with %q", m, err, c.want)
			}
		})
	}
}

func TestParseMetadataKind(t *testing.T) {
	m, err := siprec.ParseMetadata([]byte("<?xml version='1.0' encoding='iso-8859-1'?><recording><participant participant_id='1'><nameID aor='sip:a@b'><name>M\xfcller</name></nameID></participant></recording>"))
	if err != nil || m.Participants[0].Name != "Müller" {
		t.Errorf("%+v, %v", m, err)
	}
	for in, want := range map[string]string{
		"sip:a@b;x=1?y=2": "sip:a@b", "SIP:a@B": "sip:a@B", "a@b": "sip:a@b", `"N" <sips:a@b:5061>;tag=1`: "sips:a@b:5061",
		"tel:+49;ext=1": "tel:+49", "2207": "2207", "  ": "", "a\r\nb@c": "sip:ab@c",
	} {
		if got := siprec.CleanAOR(in); got != want {
			t.Errorf("CleanAOR(%q) = %q, want %q", in, got, want)
		}
	}
}

// doc composes a document.
func doc(mode string, elements ...string) string {
	return `<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>` + mode + `</datamode>` + strings.Join(elements, "") + `</recording>`
}

func who(id, aor string) string {
	return fmt.Sprintf(`<participant participant_id=%q><nameID aor=%q/></participant>`, id, aor)
}

func stream(id, label string) string {
	return fmt.Sprintf(`<stream stream_id=%q session_id="s"><label>%s</label></stream>`, id, label)
}

func sends(id string, streams ...string) string {
	s := fmt.Sprintf(`<participantstreamassoc participant_id=%q>`, id)
	for _, st := range streams {
		s += "<send>" + st + "</send>"
	}
	return s + "</participantstreamassoc>"
}

func ends(id string) string {
	return fmt.Sprintf(`<participantstreamassoc participant_id=%q><disassociate-time>2031-02-03T04:05:06Z</disassociate-time></participantstreamassoc>`, id)
}

func offer(lines ...string) string {
	s := "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
	for i, l := range lines {
		label, direction, _ := strings.Cut(l, " ")
		port := 4000 + 2*i
		if direction == "gone" {
			port, direction = 0, "sendonly"
		}
		s += fmt.Sprintf("m=audio %d RTP/AVP 8\r\na=label:%s\r\na=%s\r\n", port, label, direction)
	}
	return s
}

func TestRecording(t *testing.T) {
	both := doc("complete", who("A", "sip:a@x"), who("B", "sip:b@x"), stream("s1", "1"), stream("s2", "2"), sends("A", "s1"), sends("B", "s2"))
	type step struct{ sdp, xml, want string }
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"S8 hold and resume", []step{
			{offer("1 sendonly", "2 sendonly"), both, "added 0 sip:a@x, added 1 sip:b@x"},
			{offer("1 inactive", "2 sendonly"), "", "held 0 sip:a@x"},
			{offer("1 inactive", "2 sendonly"), "", ""},
			{offer("1 sendonly", "2 sendonly"), "", "resumed 0 sip:a@x"},
		}},
		{"inactive in the first offer", []step{
			{offer("1 sendonly", "2 inactive"), both, "added 0 sip:a@x, added 1 sip:b@x, held 1 sip:b@x"},
		}},
		{"S9 a line is added, one is taken away", []step{
			{offer("1 sendonly", "2 sendonly"), both, "added 0 sip:a@x, added 1 sip:b@x"},
			{offer("1 sendonly", "2 sendonly", "3 sendonly"), doc("partial", who("C", "sip:c@x"), stream("s3", "3"), sends("C", "s3")), "added 2 sip:c@x"},
			{offer("1 sendonly", "2 gone", "3 sendonly"), "", "removed 1"},
		}},
		{"one line first", []step{
			{offer("1 sendonly"), doc("complete", who("A", "sip:a@x"), stream("s1", "1"), sends("A", "s1")), "added 0 sip:a@x"},
			{offer("1 sendonly", "2 sendonly"), both, "added 1 sip:b@x"},
		}},
		{"S7 transfer without a description", []step{
			{offer("1 sendonly", "2 sendonly"), both, "added 0 sip:a@x, added 1 sip:b@x"},
			{"", doc("partial", who("C", "sip:c@x"), sends("C", "s2"), ends("B")), "updated 1 sip:c@x"},
			{"", doc("partial", who("D", "sip:d@x"), sends("D", "s2")), "updated 1 sip:d@x"},
		}},
		{"S7 another name", []step{
			{offer("1 sendonly", "2 sendonly"), both, "added 0 sip:a@x, added 1 sip:b@x"},
			{"", doc("partial", `<participant participant_id="B"><nameID aor="sip:b@x"><name>Bea</name></nameID></participant>`), "updated 1 sip:b@x Bea"},
			{"", doc("partial"), ""},
		}},
		{"complete replaces", []step{
			{offer("1 sendonly", "2 sendonly"), both, "added 0 sip:a@x, added 1 sip:b@x"},
			{"", doc("complete", who("Z", "sip:z@x"), stream("s1", "1"), sends("Z", "s1")), "updated 0 sip:z@x, updated 1"},
		}},
		{"association against the order", []step{
			{offer("1 sendonly", "2 sendonly"), doc("complete", who("A", "sip:a@x"), who("B", "sip:b@x"), stream("s1", "1"), stream("s2", "2"), sends("A", "s2"), sends("B", "s1")), "added 0 sip:b@x, added 1 sip:a@x"},
		}},
		{"one left over", []step{
			{offer("1 sendonly", "2 sendonly"), doc("complete", who("A", "sip:a@x"), who("B", "sip:b@x"), stream("s2", "2"), sends("A", "s2")), "added 0 sip:b@x, added 1 sip:a@x"},
		}},
		{"two left over stay unknown", []step{
			{offer("1 sendonly", "2 sendonly", "3 sendonly"), doc("complete", who("A", "sip:a@x"), who("B", "sip:b@x"), who("C", "sip:c@x"), stream("s2", "2"), sends("A", "s2")), "added 0, added 1 sip:a@x, added 2"},
		}},
		{"an association for each stream", []step{
			{offer("1 sendonly", "2 sendonly"), doc("complete", who("A", "sip:a@x"), who("B", "sip:b@x"), stream("s1", "1"), stream("s2", "2"), stream("v1", "9"), sends("A", "s1"), sends("A", "v1"), sends("B", "s2")), "added 0 sip:a@x, added 1 sip:b@x"},
		}},
		{"two claim one stream", []step{
			{offer("1 sendonly", "2 sendonly"), doc("complete", who("A", "sip:a@x"), who("B", "sip:b@x"), stream("s1", "1"), sends("A", "s1"), sends("B", "s1")), "added 0 sip:b@x, added 1 sip:a@x"},
		}},
		{"participant leaves", []step{
			{offer("1 sendonly", "2 sendonly"), both, "added 0 sip:a@x, added 1 sip:b@x"},
			{"", doc("partial", `<participantsessionassoc participant_id="B" session_id="s"><disassociate-time>x</disassociate-time></participantsessionassoc>`), "updated 1"},
		}},
		{"metadata before any description", []step{
			{"", both, ""},
			{offer("1 sendonly", "2 sendonly"), "", "added 0 sip:a@x, added 1 sip:b@x"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r siprec.Recording
			for i, s := range c.steps {
				var o *sdp.Session
				var d *siprec.Metadata
				var err error
				if s.sdp != "" {
					if o, err = sdp.Parse([]byte(s.sdp)); err != nil {
						t.Fatal(err)
					}
				}
				if s.xml != "" {
					if d, err = siprec.ParseMetadata([]byte(s.xml)); err != nil {
						t.Fatal(err)
					}
				}
				var got []string
				for _, ch := range r.Apply(o, d, func(int) bool { return true }) {
					kind := map[siprec.ChangeKind]string{siprec.Added: "added", siprec.Removed: "removed", siprec.Held: "held", siprec.Resumed: "resumed", siprec.Updated: "updated"}[ch.Kind]
					got = append(got, strings.TrimSpace(fmt.Sprintf("%s %d %s %s", kind, ch.Leg.Index, ch.Leg.Identity, ch.Leg.Name)))
				}
				if g := strings.Join(got, ", "); g != s.want {
					t.Fatalf("step %d: %q, want %q", i, g, s.want)
				}
			}
		})
	}
}

// TestStateIsBounded: partial documents without end do not grow the state.
func TestStateIsBounded(t *testing.T) {
	var r siprec.Recording
	for i := range 1000 {
		d, err := siprec.ParseMetadata([]byte(doc("partial", who(fmt.Sprint("p", i), "sip:a@x"), stream(fmt.Sprint("s", i), "1"), fmt.Sprintf("<x%d>y</x%d>", i, i))))
		if err != nil {
			t.Fatal(err)
		}
		r.Apply(nil, d, nil)
	}
	if n := len(r.Facts()); n > 100 {
		t.Errorf("%d facts are kept", n)
	}
}

// mutate changes a few bytes, cuts, doubles or moves a piece.
func mutate(rng *rand.Rand, b []byte) []byte {
	b = slices.Clone(b)
	for range 1 + rng.IntN(6) {
		if len(b) < 2 {
			return b
		}
		i := rng.IntN(len(b))
		j := min(len(b), i+1+rng.IntN(40))
		switch rng.IntN(5) {
		case 0:
			b[i] = byte(rng.IntN(256))
		case 1:
			b = slices.Delete(b, i, j)
		case 2:
			b = slices.Insert(b, i, slices.Clone(b[i:j])...)
		case 3:
			b = b[:i]
		default:
			b[i] ^= 1 << rng.IntN(8)
		}
	}
	return b
}

// TestMutations feeds 1,000 damaged requests: each is read, or refused with
// words that say why.
func TestMutations(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 866))
	refused := 0
	for i := range 1000 {
		contentType, body := fixture(t, vendors[i%len(vendors)])
		if rng.IntN(4) == 0 {
			contentType = string(mutate(rng, []byte(contentType)))
		}
		var r siprec.Recording
		if _, _, err := apply(&r, contentType, mutate(rng, body)); err != nil {
			refused++
			text := err.Error()
			if !strings.HasPrefix(text, "siprec: ") && !strings.HasPrefix(text, "sdp: ") || len(text) < 15 {
				t.Errorf("the refusal says little: %v", err)
			}
		}
	}
	if refused < 50 || refused > 950 {
		t.Errorf("%d of 1000 were refused: the mutations are too mild or too strong", refused)
	}
}

func FuzzBody(f *testing.F) {
	for _, v := range vendors {
		contentType, body := fixture(f, v)
		f.Add(contentType, body)
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		b, err := siprec.ParseBody(contentType, body)
		if err == nil && len(b.SDP)+len(b.Metadata) > len(body) {
			t.Errorf("%d bytes came out of %d", len(b.SDP)+len(b.Metadata), len(body))
		}
	})
}

func FuzzMetadata(f *testing.F) {
	for _, v := range vendors {
		contentType, body := fixture(f, v)
		if b, err := siprec.ParseBody(contentType, body); err == nil {
			f.Add(b.Metadata)
		}
	}
	base, err := sdp.Parse([]byte(plainSDP))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := siprec.ParseMetadata(b)
		if err != nil {
			return
		}
		var r siprec.Recording
		r.Apply(base, m, func(int) bool { return true })
		if n := len(r.Legs()); n != 2 {
			t.Errorf("%d legs of 2 lines", n)
		}
	})
}
