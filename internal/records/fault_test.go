package records_test

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sidetone/internal/journal"
	"sidetone/internal/records"
	"sidetone/internal/store"
	"sidetone/internal/store/storetest"
)

// interleave brings calls' events in turns, as the journal would.
func interleave(calls []*script) []journal.Event {
	var out []journal.Event
	for i, left := 0, true; left; i++ {
		left = false
		for _, s := range calls {
			if i < len(s.events) {
				out = append(out, s.events[i])
				left = true
			}
		}
	}
	return out
}

func someCalls(t testing.TB, n int) []*script {
	t.Helper()
	var out []*script
	for i := range n {
		s := call(t, i, "ann", fmt.Sprintf("sip:+4310%d@pbx", i))
		for u := range 20 {
			s.say("b", u+1, fmt.Sprintf("this is what number %d has to say in line %d", i, u))
		}
		s.card("k1", "used", 300)
		s.end()
		out = append(out, s)
	}
	return out
}

// checkAll says whether the database holds each event once, and the calls that
// they add up to.
func checkAll(t *testing.T, db *store.DB, r *records.Records, calls []*script) {
	t.Helper()
	var events, want int64
	if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM events`).Scan(&events); err != nil {
		t.Fatal(err)
	}
	for _, s := range calls {
		want += int64(len(s.events))
		checkCall(t, r, s)
	}
	if s := stats(t, r); events != want || s.Broken != 0 || s.Calls != int64(len(calls)) {
		t.Errorf("%d events, want %d; stats %+v", events, want, s)
	}
	list, _, err := r.List(t.Context(), records.Filter{Text: "line number", Limit: 1000, State: "ended"})
	if err != nil || len(list) != len(calls) || list[0].Utterances != 20 || list[0].Cards.Used != 1 {
		t.Errorf("found %d calls of %d, %v", len(list), len(calls), err)
	}
}

func TestPostgresKilledInTheMiddle(t *testing.T) {
	server := storetest.Start(t)
	url := server.Database(t)
	db := storetest.Open(t, url)
	r, err := records.New(db, records.Config{})
	if err != nil {
		t.Fatal(err)
	}
	calls := someCalls(t, 30)
	events := interleave(calls)
	var applied, failed atomic.Int64
	done := make(chan error, 1)
	go func() {
		const batch = 7
		for at := 0; at < len(events); {
			part := events[at:min(at+batch, len(events))]
			if err := r.Apply(t.Context(), part); err != nil {
				// As the journal would: the same events again.
				failed.Add(1)
				select {
				case <-t.Context().Done():
					done <- err
					return
				case <-time.After(5 * time.Millisecond):
				}
				continue
			}
			at += len(part)
			applied.Store(int64(at))
		}
		done <- nil
	}()
	for kill := 1; kill <= 3; kill++ {
		// Killed while events are applied, wherever that is just then.
		for applied.Load() < int64(len(events)*kill/4) {
			time.Sleep(time.Millisecond)
		}
		server.Kill(t)
		// Unless the last was applied just before.
		for before := failed.Load(); failed.Load() == before && applied.Load() < int64(len(events)); {
			time.Sleep(time.Millisecond)
		}
		server.Restart(t)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	checkAll(t, db, r, calls)
}

// childDatabase is the environment variable with the database that a child of
// TestKilledInTheMiddle works on.
const childDatabase = "SIDETONE_TEST_CHILD_DATABASE"

func TestKilledInTheMiddle(t *testing.T) {
	calls := someCalls(t, 30)
	events := interleave(calls)
	if url := os.Getenv(childDatabase); url != "" {
		r := open(t, url)
		for at := range events {
			apply(t, r, events[at])
			fmt.Println("applied", at+1)
		}
		return
	}
	path := storetest.SQLite(t)
	for kill := range 4 {
		child := exec.Command(os.Args[0], "-test.run", "^TestKilledInTheMiddle$")
		child.Env = append(os.Environ(), childDatabase+"="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err = child.Start(); err != nil {
			t.Fatal(err)
		}
		applied, want := 0, len(events)*(kill+1)/6
		for lines := bufio.NewScanner(out); applied < want && lines.Scan(); {
			if n, ok := number(lines.Text()); ok {
				applied = n
			}
		}
		if err = child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait()
		if applied != want {
			t.Fatalf("the child ended by itself after %d events of %d", applied, want)
		}
		db := storetest.Open(t, path)
		var there int64
		if err = db.QueryRow(t.Context(), `SELECT COUNT(*) FROM events`).Scan(&there); err != nil || there < int64(applied) {
			t.Errorf("%d events are there, %d were applied, %v", there, applied, err)
		}
	}
	db := storetest.Open(t, path)
	r, err := records.New(db, records.Config{})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, r, events...)
	checkAll(t, db, r, calls)
}

func number(line string) (int, bool) {
	var n int
	_, err := fmt.Sscanf(line, "applied %d", &n)
	return n, err == nil
}

// smallDisk is a folder with so much space, and a function that gives it more.
func smallDisk(t *testing.T, mib int) (string, func()) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sidetone-disk-")
	if err != nil {
		t.Fatal(err)
	}
	mount := func(flags uintptr, mib int) error {
		return syscall.Mount("tmpfs", dir, "tmpfs", flags, "size="+strconv.Itoa(mib)+"m,mode=777")
	}
	if err = mount(0, mib); err != nil {
		_ = os.Remove(dir)
		if errors.Is(err, syscall.EPERM) {
			t.Skip("needs the right to mount a small disk")
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(syscall.Unmount(dir, 0), os.Remove(dir)); err != nil {
			t.Error(err)
		}
	})
	return dir, func() {
		t.Helper()
		if err := mount(syscall.MS_REMOUNT, 256); err != nil {
			t.Fatal(err)
		}
	}
}

// noise is text that cannot be compressed.
func noise(n int) string {
	b := make([]byte, n/2)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func TestFullDisk(t *testing.T) {
	run := func(t *testing.T, url string, more func()) {
		calls := someCalls(t, 20)
		events := interleave(calls)
		db, err := store.Open(t.Context(), store.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		r, err := records.New(db, records.Config{})
		if err != nil {
			t.Fatal(err)
		}
		// Filled with long calls of somebody else until there is no space.
		filler := call(t, 999, "bob", "sip:+4320@pbx")
		apply(t, r, filler.events...)
		at := 0
		for n := 0; err == nil && n < 4000; n++ {
			filler.say("b", n+1, noise(6000))
			err = r.Apply(t.Context(), filler.events[len(filler.events)-1:])
			if err == nil && n%10 == 0 && at < len(events)/2 {
				apply(t, r, events[at])
				at++
			}
		}
		if !errors.Is(err, store.ErrFull) {
			t.Fatalf("a full disk: %v", err)
		}
		// Reading goes on.
		if _, _, err = r.List(t.Context(), records.Filter{}); err != nil {
			t.Errorf("reading from a full disk: %v", err)
		}
		more()
		apply(t, r, filler.events...)
		apply(t, r, events...)
		filler.end()
		apply(t, r, filler.events...)
		checkCall(t, r, filler)
		if err = r.Erase(t.Context(), filler.key); err != nil {
			t.Fatal(err)
		}
		checkAll(t, db, r, calls)
	}
	t.Run("sqlite", func(t *testing.T) {
		dir, more := smallDisk(t, 2)
		run(t, dir+"/test.db", more)
	})
	t.Run("postgres", func(t *testing.T) {
		dir, more := smallDisk(t, 12)
		if err := os.Mkdir(dir+"/space", 0o777); err != nil {
			t.Fatal(err)
		}
		server := storetest.Start(t)
		t.Cleanup(func() { server.Kill(t) })
		run(t, server.DatabaseIn(t, dir+"/space"), more)
	})
}
