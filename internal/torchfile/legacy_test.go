package torchfile

import (
	"slices"
	"strings"
	"testing"
)

// The parts of a file of old: a tensor of the last two of three elements.
var (
	oldVersion = "\x80\x02M\xe9\x03."
	oldSystem  = "\x80\x02}" + text("little_endian") + "\x88s."
	oldStored  = "(" + text("storage") + "ctorch\nFloatStorage\n" + text("77") + text("cuda:0") + "K\x03NtQ"
	oldObject  = "\x80\x02}(" + text("n") + "K\x05" + text("x") + rebuildV2 + "(" + oldStored + "K\x01K\x02\x85" + one + "\x89NtRu."
	oldKeys    = "\x80\x02](" + text("77") + "e."
	oldBytes   = "\x03\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x80\x3f" + "\x00\x00\x00\x40" + "\x00\x00\x40\x40"
)

func old(parts ...string) []byte { return []byte(legacyMagic + strings.Join(parts, "")) }

func TestParseOldFiles(t *testing.T) {
	f, err := Parse(old(oldVersion, oldSystem, oldObject, oldKeys, oldBytes))
	if err != nil {
		t.Fatal(err)
	}
	v, err := f.Tensors["x"].Floats()
	if err != nil || !slices.Equal(v, []float32{2, 3}) || f.Numbers["n"] != 5 {
		t.Errorf("%v, %v, numbers %v", v, err, f.Numbers)
	}
}

func TestOldFilesThatAreWrong(t *testing.T) {
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"cut off at once", old(), "too early"},
		{"version", old("\x80\x02K\x01.", oldSystem, oldObject, oldKeys, oldBytes), "version 1"},
		{"big endian", old(oldVersion, strings.Replace(oldSystem, "\x88", "\x89", 1), oldObject, oldKeys, oldBytes), "little endian"},
		{"no system", old(oldVersion, "N.", oldObject, oldKeys, oldBytes), "byte order"},
		{"keys", old(oldVersion, oldSystem, oldObject, "N.", oldBytes), "no list"},
		{"another key", old(oldVersion, oldSystem, oldObject, strings.Replace(oldKeys, "77", "78", 1), oldBytes), "nothing has named"},
		{"no keys", old(oldVersion, oldSystem, oldObject, "]."), "1 storages, and the bytes of 0"},
		{"cut off", old(oldVersion, oldSystem, oldObject, oldKeys, oldBytes[:19]), "too early"},
		{"another length", old(oldVersion, oldSystem, oldObject, oldKeys, "\x02"+oldBytes[1:]), "announced"},
		{"large", old(oldVersion, oldSystem, strings.Replace(oldObject, "K\x03N", "J\xff\xff\xff\x7fN", 1), oldKeys, oldBytes), "cut off"},
		{"negative", old(oldVersion, oldSystem, strings.Replace(oldObject, "K\x03N", "J\xff\xff\xff\xffN", 1), oldKeys, oldBytes), "length"},
		{"view", old(oldVersion, oldSystem, strings.Replace(oldObject, "K\x03N", "K\x03)", 1), oldKeys, oldBytes), "part of another"},
		{"class", old(oldVersion, oldSystem, strings.Replace(oldObject, "Float", "Flaot", 1), oldKeys, oldBytes), "unknown"},
	} {
		if _, err := Parse(c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}
