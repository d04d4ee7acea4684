package voicecal

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"sidetone/internal/needs"
	"sidetone/voiceprint"
	"sidetone/voiceprint/embed/campplus"
)

func merge(c *Cache) int {
	b, err := os.ReadFile("/tmp/bench-raw.emb")
	head := c.model.ID + "\n"
	if err != nil || len(b) < len(head) || string(b[:len(head)]) != head {
		return -1
	}
	n := 0
	for at := len(head); at+2 <= len(b); {
		k := int(binary.LittleEndian.Uint16(b[at:]))
		size := 2 + k + 4*192
		if at+size > len(b) {
			break
		}
		key := string(b[at+2 : at+2+k])
		if _, ok := c.Get(key); !ok {
			e := make(voiceprint.Embedding, 192)
			for i := range e {
				e[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[at+2+k+4*i:]))
			}
			if c.Put(key, e) != nil {
				return -2
			}
			n++
		}
		at += size
	}
	return n
}

func TestExpEmbed(t *testing.T) {
	if os.Getenv("EXP_CACHE") == "" {
		t.Skip()
	}
	f, err := os.Open(needs.Model(t, "campplus-speaker", "campplus_cn_en_common.pt"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := campplus.Load(f, campplus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := OpenCache(os.Getenv("EXP_CACHE"), e.Model())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	us, err := Eval(needs.Eval(t, "voice"), os.Getenv("EXP_COHORT") != "")
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(us)
	looks := ds(2, 2.5, 3, 4, 5, 7, 10, 15)
	if os.Getenv("EXP_LOOKS") == "all" {
		looks = nil
	}
	h := Hearing{Raw: e, Policy: voiceprint.DefaultPolicy(), Cache: c, Progress: func(int) {}, Looks: looks, Jobs: 1}
	for i, u := range us {
		n := merge(c)
		if _, err := h.Hear(t.Context(), us[i:i+1]); err != nil {
			t.Fatal(err)
		}
		fmt.Println(i, u.Name, n)
	}
}
