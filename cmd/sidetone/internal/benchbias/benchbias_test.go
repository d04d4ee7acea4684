package benchbias

import (
	"strings"
	"testing"
)

func TestCount(t *testing.T) {
	var r Row
	for _, c := range []struct{ ref, hyp string }{
		{"call zelle now zelle", "call zelle now sell"},
		{"no name here", "no merneptah here"},
		{"king merneptah", "king merneptah merneptah"},
	} {
		r.count(strings.Fields(c.ref), strings.Fields(c.hyp), []string{"merneptah", "zelle"})
	}
	if r.Said != 3 || r.Heard != 2 || r.Invented != 2 {
		t.Errorf("%+v", r)
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := Table(&b, []Row{{Weight: 2, Said: 8, Heard: 4, Invented: 1, Errors: 3, Words: 40}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"50.0", "7.50", "2.0"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in:\n%s", want, b.String())
		}
	}
}
