package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"sidetone/internal/needs"
	"sidetone/internal/tensor"
	"sidetone/internal/torchfile/torchtest"
)

func good() []byte {
	return torchtest.Write([]torchtest.Item{
		{Key: "dims", Value: []torchtest.Item{{Key: "n_mels", Value: 80}, {Key: "n_less", Value: -3}}},
		{Key: "about", Value: "a test"},
		{Key: "state", Value: []torchtest.Item{
			{Key: "a.weight", Value: tensor.Tensor{Type: tensor.Float16, Shape: []int{2, 3}, Data: []byte("abcdefghijkl")}},
			{Key: "a.bias", Value: tensor.Tensor{Type: tensor.Float32, Shape: []int{1}, Data: []byte{0, 0, 0x80, 0x3f}}},
		}},
	})
}

func TestParse(t *testing.T) {
	f, err := Parse(good())
	if err != nil {
		t.Fatal(err)
	}
	w := f.Tensors["state/a.weight"]
	if w.Type != tensor.Float16 || !slices.Equal(w.Shape, []int{2, 3}) || string(w.Data) != "abcdefghijkl" {
		t.Errorf("weight: %+v", w)
	}
	if b, err := f.Tensors["state/a.bias"].Floats(); err != nil || !slices.Equal(b, []float32{1}) {
		t.Errorf("bias: %v, %v", b, err)
	}
	if len(f.Tensors) != 2 || len(f.Numbers) != 2 || f.Numbers["dims/n_mels"] != 80 || f.Numbers["dims/n_less"] != -3 {
		t.Errorf("%d tensors, numbers %v", len(f.Tensors), f.Numbers)
	}
}

// TestParseWhatTorchWrote reads files that PyTorch itself has written; what
// they must hold was found with Python's zipfile, pickletools and numpy.
func TestParseWhatTorchWrote(t *testing.T) {
	cases := []struct {
		model, file, name string
		tensors           int
		shape             []int
		sum               float64
	}{
		{"campplus-speaker", "campplus_cn_en_common.pt", "head.conv1.weight", 937, []int{32, 1, 3, 3}, 7.611406},
		{"ge2e-speaker", "pretrained.pt", "model_state/linear.bias", 16, []int{256}, -1.486679},
		{"pyannote-segmentation-3.0", "pytorch_model.bin", "state_dict/sincnet.wav_norm1d.weight", 54, []int{1}, 0.009886787},
	}
	for _, c := range cases {
		b, err := os.ReadFile(needs.Model(t, c.model, c.file))
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse(b)
		if err != nil {
			t.Errorf("%s: %v", c.model, err)
			continue
		}
		x := f.Tensors[c.name]
		v, err := x.Floats()
		if err != nil {
			t.Errorf("%s: %s: %v", c.model, c.name, err)
			continue
		}
		sum := 0.0
		for _, w := range v {
			sum += float64(w)
		}
		if len(f.Tensors) != c.tensors || !slices.Equal(x.Shape, c.shape) || math.Abs(sum-c.sum) > 1e-4 {
			t.Errorf("%s: %d tensors, %s is %v with a sum of %.6f", c.model, len(f.Tensors), c.name, x.Shape, sum)
		}
	}
}

// object is a pickle of protocol 2.
func object(program string) []byte {
	return torchtest.Archive([]byte("\x80\x02"+program+"."), make([]byte, 24))
}

// text is a string as a pickle has it.
func text(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

const (
	rebuildV2 = "ctorch._utils\n_rebuild_tensor_v2\n"
	three     = "K\x03\x85" // (3,)
	one       = "K\x01\x85"
)

// stored is the persistent id of storage 0.
func stored(class string) string {
	return "(" + text("storage") + "ctorch\n" + class + "\n" + text("0") + text("cpu") + "K\x06tQ"
}

func made(args string) []byte { return object("}" + text("x") + rebuildV2 + args + "Rs") }

func TestInstructions(t *testing.T) {
	cases := []struct {
		name    string
		program string
		want    int64
	}{
		{"memo", "}q\x00(" + text("x") + "K\x07q\x01u0h\x00" + text("x") + "h\x01s", 7},
		{"long memo", "}r\x00\x01\x00\x00" + text("x") + "M\x01\x02s0j\x00\x01\x00\x00", 0x201},
		{"negative", "}" + text("x") + "J\xfe\xff\xff\xffs", -2},
		{"long", "}" + text("x") + "\x8a\x02\x00\x80s", -32768},
		{"no bytes", "}" + text("x") + "\x8a\x00s", 0},
		{"short text", "}\x8c\x01xK\x05s", 5},
		{"others are left out", "}(" + text("x") + "K\x05" + text("y") + "N" + text("z") + "\x88K\x09\x86" + text("f") + "G\x3f\xf0\x00\x00\x00\x00\x00\x00u", 5},
		{"later counts", "}(" + text("x") + "K\x05" + text("x") + "K\x06u", 6},
		{"numbered key", "}(" + text("x") + "K\x05K\x01K\x02u", 5},
		{"ordered dictionary", "ccollections\nOrderedDict\n)R" + text("x") + "K\x05s}" + text("_metadata") + "}sb", 5},
		{"unknown class", "}(" + text("x") + "K\x05" + text("y") + "cos\nsystem\n" + text("false") + "\x85R" + text("z") + "](K\x01K\x02eK\x03au", 5},
		{"unknown object", "}(" + text("x") + "K\x05" + text("y") + "cos\nsystem\n)\x81}bu", 5},
	}
	for _, c := range cases {
		f, err := Parse(object(c.program))
		if err != nil || f.Numbers["x"] != c.want {
			t.Errorf("%s: %v, %v; want %d", c.name, f, err, c.want)
		}
	}
	f, err := Parse(object("}" + text("x") + "ctorch._utils\n_rebuild_parameter\n(" + rebuildV2 + "(" + stored("ShortStorage") + "K\x02" + three + one + "\x89NtR\x88Nt" + "Rs"))
	if err != nil || f.Tensors["x"].Type != tensor.Int16 || len(f.Tensors["x"].Data) != 6 {
		t.Errorf("parameter: %v, %v", f, err)
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	deep := "}q\x00" + text("x") + "h\x00s"
	wide := "}q\x00" // a chain of dictionaries that hold the next one many times over
	for i := range 6 {
		wide += "}q" + string(rune(i+1)) + "("
		for k := range 30 {
			wide += text(fmt.Sprint(k)) + "h" + string(rune(i))
		}
		wide += "u"
	}
	cases := []struct {
		name string
		file []byte
		want string
	}{
		{"text", []byte("weights"), "before 1.6"},
		{"empty archive", zipped(nil, zip.Store), "no data.pkl"},
		{"compressed", zipped(map[string]string{"a/data.pkl": "}."}, zip.Deflate), "compressed"},
		{"big endian", zipped(map[string]string{"a/data.pkl": "}.", "a/byteorder": "big"}, zip.Store), "byte order"},
		{"empty", torchtest.Archive(nil), "ends too early"},
		{"not a dictionary", object("K\x01"), "int64"},
		{"unknown instruction", object("}i"), "not one that torch.save writes"},
		{"protocol", torchtest.Archive([]byte("\x80\x09}.")), "protocol 9"},
		{"underflow", object("0"), "lacks operands"},
		{"no mark", object("}K\x01u"), "lacks operands"},
		{"nothing to fill", object("K\x01K\x01s"), "lacks operands"},
		{"odd", object("}(K\x01u"), "key without a value"},
		{"no such memo", object("h\x07"), "no object 7"},
		{"long text", object("X\xff\xff\xff\xffabc"), "ends too early"},
		{"endless name", object("c" + strings.Repeat("x", 4000)), "ends too early"},
		{"arguments", object("cos\nsystem\nNR"), "no tuple"},
		{"in itself", object(deep), "deep"},
		{"many", object(wide), "entries"},
		{"no storage", object("NQ"), "no storage"},
		{"storage without key", object("(" + text("storage") + "NNNNtQ"), "without class or key"},
		{"missing storage", object("(" + text("storage") + "ctorch\nHalfStorage\n" + text("9") + "NNtQ"), `"9" is not in the archive`},
		{"few arguments", made(")"), "0 arguments"},
		{"no shape", made("(" + stored("HalfStorage") + "K\x00NNt"), "without storage"},
		{"beyond", made("(" + stored("HalfStorage") + "K\x0a" + three + one + "t"), "does not fit"},
		{"too large", made("(" + stored("HalfStorage") + "K\x00J\xff\xff\xff\x7f\x85" + one + "t"), "does not fit"},
		{"before", made("(" + stored("HalfStorage") + "J\xff\xff\xff\xff" + three + one + "t"), "does not fit"},
		{"transposed", made("(" + stored("HalfStorage") + "K\x00K\x02K\x02\x86K\x01K\x02\x86t"), "only contiguous"},
	}
	for _, c := range cases {
		if _, err := Parse(c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func zipped(files map[string]string, method uint16) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, body := range files {
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err != nil {
			panic(err)
		}
		f.Write([]byte(body))
	}
	z.Close()
	return b.Bytes()
}

func FuzzParse(f *testing.F) {
	f.Add(good())
	f.Add(made("(" + stored("HalfStorage") + "K\x0a" + three + one + "t"))
	f.Add(old(oldVersion, oldSystem, oldObject, oldKeys, oldBytes))
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse(b)
		if err == nil {
			check(t, file)
		}
	})
}

// FuzzPickle spares the fuzzer the checksums of the archive.
func FuzzPickle(f *testing.F) {
	f.Add([]byte("\x80\x02}" + text("x") + rebuildV2 + "(" + stored("HalfStorage") + "K\x00" + three + one + "\x89NtRs."))
	f.Add([]byte("}q\x00(" + text("x") + "h\x00ub."))
	f.Add([]byte("(K\x01\x8a\x01\x05G01234567\x86\x87t."))
	f.Fuzz(func(t *testing.T, pickle []byte) {
		file, err := Parse(torchtest.Archive(pickle, make([]byte, 64)))
		if err == nil {
			check(t, file)
		}
	})
}

func check(t *testing.T, f *File) {
	for name, x := range f.Tensors {
		n := x.Type.Size()
		for _, d := range x.Shape {
			n *= d
		}
		if n != len(x.Data) {
			t.Errorf("%q: %d bytes for %v of %s", name, len(x.Data), x.Shape, x.Type)
		}
	}
}
