package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"sidetone/internal/audit"
	"sidetone/internal/store"
	"sidetone/internal/store/storetest"
)

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func open(t testing.TB, db *store.DB, dir, node string) *audit.Log {
	t.Helper()
	l, err := audit.New(t.Context(), db, audit.Config{Dir: dir, Node: node})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func add(t testing.TB, l *audit.Log, n int) {
	t.Helper()
	for i := range n {
		e := audit.Entry{
			At: start.Add(time.Duration(i) * time.Second), Actor: "account:ann", Action: "call.read", Object: fmt.Sprintf("call-%d", i),
			Detail: map[string]string{"why": "quality", "n": fmt.Sprint(i)}, Address: "127.0.0.1",
		}
		if err := l.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

func verify(t testing.TB, l *audit.Log) audit.Report {
	t.Helper()
	r, err := l.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEveryBreachIsFound(t *testing.T) {
	// The log is "audit.begun" and call-0 to call-9 as entries 2 to 11.
	cases := []struct {
		name string
		sql  []string
		want string
	}{
		{"nothing", nil, ""},
		{"edited", []string{`UPDATE audit SET object = 'call-77' WHERE seq = 5`}, "5: the entry, or the hash before it, was changed"},
		{"edited time", []string{`UPDATE audit SET at = at + 1 WHERE seq = 5`}, "5: the entry, or"},
		{"text moved between columns", []string{`UPDATE audit SET actor = 'account:anncall', action = '.read' WHERE seq = 5`}, "5: the entry, or"},
		{"edited with the hash of another", []string{`UPDATE audit SET hash = (SELECT hash FROM audit WHERE seq = 6) WHERE seq = 5`}, "5: the entry, or"},
		{"deleted", []string{`DELETE FROM audit WHERE seq = 4`}, "4: the entry is missing"},
		{"deleted and renumbered", []string{`DELETE FROM audit WHERE seq = 4`, `UPDATE audit SET seq = -seq WHERE seq > 4`, `UPDATE audit SET seq = -seq - 1 WHERE seq < 0`}, "4: the entry, or"},
		{"first deleted", []string{`DELETE FROM audit WHERE seq = 1`}, "1: the entry is missing"},
		{"reordered", []string{`UPDATE audit SET seq = 100 WHERE seq = 6`, `UPDATE audit SET seq = 6 WHERE seq = 7`, `UPDATE audit SET seq = 7 WHERE seq = 100`}, "6: the entry, or"},
		{"tail cut", []string{`DELETE FROM audit WHERE seq > 9`}, "10: the log was cut: it ends at entry 9, and entry 11 was there"},
		{"last cut", []string{`DELETE FROM audit WHERE seq > 10`}, "11: the log was cut"},
		{"all cut", []string{`DELETE FROM audit`}, "1: the log was cut"},
		{"invented", []string{`INSERT INTO audit SELECT seq + 1, at, actor, action, object, detail, address, hash FROM audit WHERE seq = 11`}, "12: the entry, or"},
	}
	storetest.Each(t, func(t *testing.T, url string) {
		db := storetest.Open(t, url)
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				if _, err := db.Exec(t.Context(), `DELETE FROM audit`); err != nil {
					t.Fatal(err)
				}
				l := open(t, db, t.TempDir(), "n1")
				add(t, l, 10)
				for _, q := range c.sql {
					if n, err := db.Exec(t.Context(), q); err != nil || n == 0 {
						t.Fatalf("%s: %d rows, %v", q, n, err)
					}
				}
				r, got := verify(t, l), ""
				if r.Broken != nil {
					got = fmt.Sprintf("%d: %s", r.Broken.Seq, r.Broken.Reason)
				}
				if c.want == "" && got != "" || !strings.HasPrefix(got, c.want) {
					t.Errorf("found %q, want %q", got, c.want)
				}
				if c.want == "" && r.Last.Seq != 11 {
					t.Errorf("report %+v", r)
				}
			})
		}
	})
}

// Who cuts the tail and lets the log grow again finds the anchor in the way.
func TestCutStaysVisible(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		db, dir := storetest.Open(t, url), t.TempDir()
		var out bytes.Buffer
		l, err := audit.New(t.Context(), db, audit.Config{Dir: dir, Node: "n1", Log: slog.New(slog.NewTextHandler(&out, nil))})
		if err != nil {
			t.Fatal(err)
		}
		add(t, l, 10)
		if _, err = db.Exec(t.Context(), `DELETE FROM audit WHERE seq > 5`); err != nil {
			t.Fatal(err)
		}
		add(t, l, 20)
		r := verify(t, l)
		if r.Broken == nil || !r.Broken.Cut || r.Broken.Seq != 11 {
			t.Errorf("report %+v", r)
		}
		if n := strings.Count(out.String(), "was cut or changed"); n != 1 {
			t.Errorf("the log tells %d times: %s", n, out.String())
		}
		if err = l.Accept(t.Context(), "account:root", "backup of yesterday"); err != nil {
			t.Fatal(err)
		}
		if r = verify(t, l); r.Broken != nil || r.Last.Seq != 26 {
			t.Errorf("after it was accepted: %+v", r)
		}
		if err = l.Accept(t.Context(), "account:root", "again"); err == nil {
			t.Error("a whole log has a breach to accept")
		}
		if _, err = db.Exec(t.Context(), `UPDATE audit SET actor = 'x' WHERE seq = 3`); err != nil {
			t.Fatal(err)
		}
		if err = l.Accept(t.Context(), "account:root", "please"); err == nil {
			t.Error("an edited entry is accepted")
		}
	})
}

func TestTwoNodesKeepOneChain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		dir := t.TempDir()
		var wg sync.WaitGroup
		const each = 40
		for i := range 2 {
			l := open(t, storetest.Open(t, url), dir, fmt.Sprintf("n%d", i))
			wg.Go(func() {
				for range each {
					if err := l.Append(t.Context(), audit.Entry{Actor: "system:n", Action: "config.loaded"}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if r := verify(t, open(t, storetest.Open(t, url), dir, "n3")); r.Broken != nil || r.Last.Seq != 2*each+1 {
			t.Errorf("report %+v, breach %+v", r, r.Broken)
		}
	})
}

func TestKey(t *testing.T) {
	ctx, db, dir := t.Context(), storetest.Open(t, filepath.Join(t.TempDir(), "a.db")), t.TempDir()
	l := open(t, db, dir, "n1")
	add(t, l, 3)
	for _, name := range []string{"audit.key", "audit.anchor"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	fails := func(what, dir string) {
		t.Helper()
		if _, err := audit.New(ctx, db, audit.Config{Dir: dir, Node: "n1"}); !errors.Is(err, audit.ErrKey) {
			t.Errorf("%s: %v", what, err)
		}
	}
	fails("no key for a log that there is", t.TempDir())
	other := t.TempDir()
	open(t, storetest.Open(t, filepath.Join(t.TempDir(), "b.db")), other, "n1")
	fails("another log's key", other)
	key := filepath.Join(dir, "audit.key")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	fails("a key that all may read", dir)
	if err := errors.Join(os.Chmod(key, 0o600), os.WriteFile(key, []byte("abc"), 0o600)); err != nil {
		t.Fatal(err)
	}
	fails("half a key", dir)
}

func TestList(t *testing.T) {
	storetest.Each(t, func(t *testing.T, url string) {
		ctx, l := t.Context(), open(t, storetest.Open(t, url), t.TempDir(), "n1")
		add(t, l, 10)
		odd := audit.Entry{At: start, Actor: "token:a\x00b", Action: "login.failed", Object: "\xff", Detail: map[string]string{"a\x00": "\xfe<"}}
		if err := l.Append(ctx, odd); err != nil {
			t.Fatal(err)
		}
		if r := verify(t, l); r.Broken != nil {
			t.Errorf("after an odd entry: %+v", r.Broken)
		}
		count := func(f audit.Filter) string {
			t.Helper()
			list, err := l.List(ctx, f)
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, e := range list {
				out = append(out, fmt.Sprint(e.Seq))
			}
			return strings.Join(out, " ")
		}
		for _, c := range []struct {
			f    audit.Filter
			want string
		}{
			{audit.Filter{Limit: 3}, "12 11 10"},
			{audit.Filter{Limit: 2, Before: 10}, "9 8"},
			{audit.Filter{Action: "login"}, "12"},
			{audit.Filter{Action: "log"}, ""},
			{audit.Filter{Action: "call.read", Object: "call-3"}, "5"},
			{audit.Filter{Actor: "account:ann", From: start.Add(3 * time.Second), To: start.Add(5 * time.Second)}, "6 5"},
		} {
			if got := count(c.f); got != c.want {
				t.Errorf("%+v: %q, want %q", c.f, got, c.want)
			}
		}
		list, err := l.List(ctx, audit.Filter{Object: "call-3"})
		want := audit.Entry{Seq: 5, At: start.Add(3 * time.Second), Actor: "account:ann", Action: "call.read", Object: "call-3", Detail: map[string]string{"why": "quality", "n": "3"}, Address: "127.0.0.1"}
		if err != nil || len(list) != 1 || !reflect.DeepEqual(list[0], want) {
			t.Errorf("%+v, %v", list, err)
		}
		if _, err = l.List(ctx, audit.Filter{Action: "%"}); !errors.Is(err, audit.ErrFilter) {
			t.Errorf("a filter of wild cards: %v", err)
		}
		if err = l.Append(ctx, audit.Entry{Actor: "x"}); err == nil {
			t.Error("an entry without an action is taken")
		}
	})
}
