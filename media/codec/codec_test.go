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
				if c.format.Rate() != 0 {
					t.Errorf("it has the rate %d Hz", c.format.Rate())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if codec.Rate() != c.rate || !strings.HasPrefix(c.name, codec.String()) {
				t.Errorf("%v at %d Hz", codec, codec.Rate())
			}
			if c.format.Rate() != c.rate {
				t.Errorf("the format's rate is %d Hz", c.format.Rate())
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
	for s, want := range map[string]string{
		"pcmu/8000": "PCMU", "g722": "G722", "opus/48000/2": "opus", "OPUS/48000": "opus/48000", "l16/16000/1": "L16/16000",
	} {
		if f, err := Parse(s); err != nil || f.String() != want {
			t.Errorf("%q is written as %q, %v", s, f.String(), err)
		}
	}
	for _, s := range []string{"", "L16", "/8000", "L16/x", "L16/-8000", "L16/8000/1/2", "L16/8000/0", "speex"} {
		if f, err := Parse(s); err == nil || !strings.Contains(err.Error(), "no format") {
			t.Errorf("%q is %+v, %v", s, f, err)
		}
	}
}

func TestPayloadType(t *testing.T) {
	for name, want := range map[string]uint8{
		"pcmu": 0, "PCMA": 8, "g722": 9, "L16/44100/2": 10, "L16/44100": 11, "opus": 107, "L16/16000": 118,
	} {
		f, err := Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		if pt, err := PayloadType(f); err != nil || pt != want {
			t.Errorf("%s: %d, %v", name, pt, err)
		}
	}
	if _, err := PayloadType(Format{Encoding: "L16", Clock: 8000}); err == nil || !strings.Contains(err.Error(), "L16/8000 has no payload type of its own") {
		t.Error(err)
	}
}

// TestEncoders sends a ramp through each encoder and its decoder.
func TestEncoders(t *testing.T) {
	for _, name := range []string{"PCMU", "PCMA", "G722", "L16/8000", "L16/16000/2"} {
		f, err := Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		e, err := NewEncoder(f)
		if err != nil {
			t.Fatal(err)
		}
		d, err := New(f)
		if err != nil {
			t.Fatal(err)
		}
		x, y, b := make([]int16, 320), make([]int16, 320), make([]byte, 1280)
		for i := range x {
			x[i] = int16(10 * i)
		}
		n, err := e.Encode(b, x)
		if err != nil || d.Samples(b[:n]) != len(x) {
			t.Fatalf("%s: %d bytes, %v", name, n, err)
		}
		if n, err := d.Decode(y, b[:n]); err != nil || n != len(x) {
			t.Fatalf("%s: %d samples, %v", name, n, err)
		}
		// G.722 lags by 22 samples, the others are off by a step of the scale.
		for i := 100; i < len(x); i++ {
			if off := int(y[i]) - int(x[i]); off < -300 || off > 120 {
				t.Errorf("%s: sample %d is %d, was %d", name, i, y[i], x[i])
				break
			}
		}
	}
	var no *UnsupportedError
	for _, f := range []Format{{Encoding: "opus", Clock: 48000}, {Encoding: "G729", Clock: 8000}} {
		if _, err := NewEncoder(f); !errors.As(err, &no) {
			t.Errorf("%+v: %v", f, err)
		}
	}
}
