package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/cmd/sidetone/internal/demo"
	"sidetone/internal/needs"
	"sidetone/internal/wav"
)

// A customer is enrolled who has consented, shown, opts out; another is forgotten.
func TestEnrolAndForget(t *testing.T) {
	needs.Model(t, config.VoiceModel, "campplus_cn_en_common.pt")
	needs.Model(t, "silero-vad", "silero_vad_16k.safetensors")
	dir := t.TempDir()
	t.Setenv(config.EnvData, filepath.Join(dir, "data"))
	speech, err := demo.Enrolment()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "margaret.wav")
	if err = writeFile(file, func(w io.Writer) error { return wav.Encode(w, speech, wav.MuLaw) }); err != nil {
		t.Fatal(err)
	}
	says := func(want string, args ...string) {
		t.Helper()
		out, err := verb(t, args...)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%v: %v, want %q in %q", args, err, want, out)
		}
	}
	refuses := func(want string, args ...string) {
		t.Helper()
		out, err := verb(t, args...)
		if err == nil || !strings.Contains(out+err.Error(), want) {
			t.Errorf("%v: %v, want %q in %q", args, err, want, out)
		}
	}
	refuses("has not consented", "enroll", "--customer", "LB-1", file)
	says("LB-1: enrolled", "enroll", "--customer", "LB-1", "--consent", "terms 3", file)
	list := filepath.Join(dir, "people.csv")
	if err = os.WriteFile(list, []byte("customer,file,line\nLB-2,margaret.wav,headset\nLB-3,missing.wav,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refuses("this voice is enrolled under another name, too: lb-1", "enroll", "--csv", list, "--consent", "terms 3")
	refuses("1 of 2 were not enrolled", "enroll", "--csv", list, "--consent", "terms 3", "--allow-duplicates")
	refuses("customer", "enroll", file)
	refuses("not both", "enroll", "--csv", list, file)
	says("agent:ann: enrolled", "enroll", "--customer", "agent:ann", "--consent", "terms for staff", "--allow-duplicates", file)
	says("agent:ann", "voice", "list", "--enrolled")
	says("lb-2", "voice", "list", "--enrolled")
	says("terms 3", "voice", "show", "LB-2")
	says("headset", "voice", "show", "LB-2")
	says("rows are sealed anew", "voice", "rekey")
	says("LB-2: opted_out", "voice", "consent", "LB-2", "--state", "opted_out", "--channel", "call")
	refuses("opted out", "enroll", "--customer", "LB-2", file)
	refuses("--state", "voice", "consent", "LB-2", "--state", "maybe")
	says("templates 1", "voice", "forget", "LB-1")
	refuses("nothing is known", "voice", "show", "LB-4")
	if out, err := verb(t, "voice", "list", "--enrolled"); err != nil || strings.Contains(out, "lb-") {
		t.Errorf("still enrolled: %v, %q", err, out)
	}
}

// What a list of customers may be.
func TestReadPeople(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, want string }{
		"two files of one":  {"Customer,File\na,1.wav\na,2.wav\nb,3.wav\n", ""},
		"no column":         {"customer,path\na,1.wav\n", `the column "file" is missing`},
		"nobody":            {"customer,file\n", "nobody is in it"},
		"an empty customer": {"customer,file\n,1.wav\n", "people.csv:2: customer or file is empty"},
		"a channel":         {"customer,file,channel\na,1.wav,0\n", "the channel"},
		"a short row":       {"customer,file\na\n", "wrong number of fields"},
	} {
		path := filepath.Join(dir, "people.csv")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		all, err := readPeople(path, enrolment{channel: 1})
		switch {
		case c.want == "" && (err != nil || len(all) != 2 || len(all[0].files) != 2 || all[0].files[1] != filepath.Join(dir, "2.wav")):
			t.Errorf("%s: %+v, %v", name, all, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
