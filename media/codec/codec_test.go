package codec

import (
	"errors"
	"strings"
	"testing"
)

func TestFormats(t *testing.T) {
	for _, c := range []struct {
		format Format
		kind   Kind
		name   string
		rate   int
		fault  string
	}{
		{Format{"PCMU", 8000, 1, ""}, Audio, "PCMU/8000", 8000, ""},
		{Format{"pcma", 8000, 0, ""}, Audio, "PCMA/8000", 8000, ""},
		{Format{"g722", 8000, 1, ""}, Audio, "G722/8000", 16000, ""},
		{Format{"OPUS", 48000, 2, "useinbandfec=1"}, Audio, "opus/48000/2", 16000, ""},
		{Format{"opus", 48000, 1, ""}, Audio, "opus/48000", 16000, ""},
		{Format{"l16", 16000, 1, ""}, Audio, "L16/16000", 16000, ""},
		{Format{"L16", 44100, 2, ""}, Audio, "L16/44100/2", 44100, ""},
		{Format{"CN", 8000, 1, ""}, Noise, "CN/8000", 0, "no audio"},
		{Format{"Telephone-Event", 48000, 1, "0-16"}, Events, "telephone-event/48000", 0, "no audio"},
		{Format{"G729", 8000, 1, "annexb=no"}, Unknown, "G729/8000", 0, "expected PCMU, PCMA, G722, opus or L16"},
		{Format{"red", 48000, 2, "111/111"}, Unknown, "red/48000/2", 0, "expected"},
		{Format{"PCMU", 16000, 1, ""}, Unknown, "PCMU/16000", 0, "8000 Hz"},
		{Format{"PCMU", 8000, 2, ""}, Unknown, "PCMU/8000/2", 0, "at most 1"},
		{Format{"G722", 16000, 1, ""}, Unknown, "G722/16000", 0, "8000 Hz"},
		{Format{"opus", 16000, 2, ""}, Unknown, "opus/16000/2", 0, "48000 Hz"},
		{Format{"opus", 48000, 6, ""}, Unknown, "opus/48000/6", 0, "at most 2"},
		{Format{"L16", 96000, 1, ""}, Unknown, "L16/96000", 0, "8000 to 48000"},
		{Format{"L16", 8000, 3, ""}, Unknown, "L16/8000/3", 0, "3 channels"},
		{Format{}, Unknown, "/0", 0, "expected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if k := c.format.Kind(); k != c.kind || Decodable(c.format) != (c.kind == Audio) {
				t.Errorf("kind %v, want %v", k, c.kind)
			}
			if n := Name(c.format); n != c.name {
				t.Errorf("name %q", n)
			}
			codec, err := New(c.format)
			if c.fault != "" {
				var no *UnsupportedError
				if !errors.As(err, &no) || no.Format != c.format || !strings.Contains(err.Error(), c.fault) || !strings.Contains(err.Error(), c.name) {
					t.Errorf("error %v, want one of %q", err, c.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if codec.Rate() != c.rate || !strings.HasPrefix(c.name, codec.String()) {
				t.Errorf("%v at %d Hz", codec, codec.Rate())
			}
			back, err := Parse(c.name)
			if err != nil || Name(back) != c.name {
				t.Errorf("parsed back as %+v, %v", back, err)
			}
		})
	}
}

func TestStatic(t *testing.T) {
	want := map[uint8]string{0: "PCMU/8000", 8: "PCMA/8000", 9: "G722/8000", 10: "L16/44100/2", 11: "L16/44100"}
	for pt := range uint8(128) {
		f, ok := Static(pt)
		if ok != (want[pt] != "") || ok && (Name(f) != want[pt] || !Decodable(f)) {
			t.Errorf("%d is %+v, %t", pt, f, ok)
		}
	}
}

func TestParse(t *testing.T) {
	for s, want := range map[string]string{
		"pcmu": "PCMU/8000", "PCMA": "PCMA/8000", "g722": "G722/8000", "Opus": "opus/48000/2", "l16/16000": "L16/16000", "L16/8000/2": "L16/8000/2",
	} {
		if f, err := Parse(s); err != nil || Name(f) != want {
			t.Errorf("%q is %+v, %v", s, f, err)
		}
	}
	for _, s := range []string{"", "L16", "/8000", "L16/x", "L16/-8000", "L16/8000/1/2", "L16/8000/0", "speex"} {
		if f, err := Parse(s); err == nil || !strings.Contains(err.Error(), "no format") {
			t.Errorf("%q is %+v, %v", s, f, err)
		}
	}
}
