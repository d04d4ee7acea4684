package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidetone/internal/journal"
)

// shared starts a server that nodes can share.
func shared(t testing.TB) string {
	t.Helper()
	cfg, err := Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", Node: "server", Secret: secret, Sync: time.Minute}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	s, err := serve(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s.url()
}

func node(t testing.TB, url, name string) *Log {
	t.Helper()
	return begin(t, Config{URL: url, Secret: secret, Node: name, Lease: 500 * time.Millisecond})
}

// vanish ends a node as kill -9 would: what it held stays, its lease runs out.
func vanish(t *testing.T, l *Log) {
	t.Helper()
	l.nc.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = l.Close(ctx)
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for start := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > 30*time.Second {
			t.Fatal("never:", what)
		}
	}
}

func open(t *testing.T, l *Log) []OpenCall {
	t.Helper()
	all, err := l.OpenCalls(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestOpenCalls(t *testing.T) {
	url := shared(t)
	l, two := node(t, url, "one"), node(t, url, "two")
	l.Append(event("a", 1))
	l.HoldOpen(OpenCall{Key: "a", Call: "7", Agent: "bo"})
	l.HoldOpen(OpenCall{Key: "a", Call: "7", Agent: "mi", External: "x@y"})
	l.HoldOpen(OpenCall{Key: "b", Call: "8"})
	l.DropOpen("b")
	l.DropOpen("never held")
	l.DropOpen("c")
	flush(t, l)
	all := open(t, two)
	if len(all) != 1 || all[0].Agent != "mi" || all[0].Node != "one" || all[0].External != "x@y" || all[0].Seen.IsZero() {
		t.Fatalf("open calls %+v", all)
	}
	// It is taken from its node: what that says of it counts no more.
	if ok, err := two.Adopt(t.Context(), all[0], "two"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	l.HoldOpen(OpenCall{Key: "a", Call: "7", Agent: "late"})
	l.DropOpen("a")
	flush(t, l)
	if all = open(t, l); len(all) != 1 || all[0].Node != "two" || all[0].Agent != "mi" {
		t.Fatalf("open calls %+v", all)
	}
	// The new one can change it and end it, and the name may come again.
	two.HoldOpen(OpenCall{Key: "a", Call: "7", Agent: "su"})
	flush(t, two)
	if all = open(t, l); len(all) != 1 || all[0].Agent != "su" {
		t.Fatalf("open calls %+v", all)
	}
	two.DropOpen("a")
	two.HoldOpen(OpenCall{Key: "b", Call: "8"})
	flush(t, two)
	if all = open(t, l); len(all) != 1 || all[0].Key != "b" {
		t.Fatalf("open calls %+v", all)
	}
}

func TestAdoptOnce(t *testing.T) {
	url := shared(t)
	dead := node(t, url, "dead")
	nodes := []*Log{node(t, url, "one"), node(t, url, "two"), node(t, url, "three")}
	const calls = 30
	for i := range calls {
		dead.HoldOpen(OpenCall{Key: callKey(i), Call: fmt.Sprint(i)})
	}
	flush(t, dead)
	vanish(t, dead)
	for _, l := range nodes {
		eventually(t, "the dead node's calls are orphans", func() bool {
			o, err := l.Orphans(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return len(o) == calls
		})
	}
	var listed [3][]OpenCall
	for i, l := range nodes {
		listed[i] = open(t, l)
	}
	var won [calls]atomic.Int32
	var wg sync.WaitGroup
	for i, l := range nodes {
		wg.Go(func() {
			for i, o := range listed[i] {
				ok, err := l.Adopt(t.Context(), o, l.cfg.Node)
				if err != nil {
					t.Error(err)
				}
				if ok {
					won[i].Add(1)
				}
			}
		})
	}
	wg.Wait()
	for i := range won {
		if n := won[i].Load(); n != 1 {
			t.Errorf("call %d was adopted %d times", i, n)
		}
	}
	for _, l := range nodes {
		eventually(t, "no call is an orphan", func() bool {
			o, err := l.Orphans(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return len(o) == 0
		})
	}
}

// A process finds what the one before it under its name left behind.
func TestOrphansOfOneself(t *testing.T) {
	dir := t.TempDir()
	l := begin(t, Config{Dir: dir, Node: "one", Sync: time.Minute})
	l.HoldOpen(OpenCall{Key: "a", Call: "7"})
	flush(t, l)
	if o, err := l.Orphans(t.Context()); err != nil || len(o) > 0 {
		t.Errorf("orphans %+v, %v", o, err)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	l = begin(t, Config{Dir: dir, Node: "one", Sync: time.Minute})
	o, err := l.Orphans(t.Context())
	if err != nil || len(o) != 1 || o[0].Call != "7" {
		t.Fatalf("orphans %+v, %v", o, err)
	}
	if ok, err := l.Adopt(t.Context(), o[0], "one"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if o, err := l.Orphans(t.Context()); err != nil || len(o) > 0 {
		t.Errorf("orphans %+v, %v", o, err)
	}
	l.DropOpen("a")
	flush(t, l)
	if all := open(t, l); len(all) > 0 {
		t.Errorf("open %+v", all)
	}
}

func TestNodes(t *testing.T) {
	url := shared(t)
	one, two := node(t, url, "one"), node(t, url, "two")
	names := func() string {
		all, err := one.Nodes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s := ""
		for _, n := range all {
			s += n.Name + n.URL
			if n.Draining {
				s += "-"
			}
			s += " "
		}
		return s
	}
	two.Announce(NodeInfo{URL: "=u", Draining: true})
	eventually(t, "both are there", func() bool { return names() == "one two=u- " })
	begun := time.Now()
	eventually(t, "leases would have run out", func() bool { return time.Since(begun) > 2*one.cfg.Lease })
	eventually(t, "both are still there", func() bool { return names() == "one two=u- " })
	vanish(t, two)
	eventually(t, "the lease of a dead node runs out", func() bool { return names() == "one " })
	three := node(t, url, "three")
	eventually(t, "three is there", func() bool { return names() == "one three " })
	if err := three.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := names(); got != "one " {
		t.Errorf("a node that closed is still there: %q", got)
	}
}

// What changes while it is listed is listed nevertheless: a node that is missed
// would be taken for dead.
func TestListWhileChanging(t *testing.T) {
	l := begin(t, Config{Dir: t.TempDir(), Node: "one", Sync: time.Minute})
	const calls = 20
	change := func() {
		for i := range calls {
			l.HoldOpen(OpenCall{Key: callKey(i), Call: fmt.Sprint(i)})
		}
		flush(t, l)
	}
	change()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			change()
		}
	})
	for range 200 {
		if got := len(open(t, l)); got != calls {
			t.Errorf("%d calls are listed, want %d", got, calls)
			break
		}
	}
	cancel()
	wg.Wait()
}

func TestTwins(t *testing.T) {
	url := shared(t)
	one := node(t, url, "one")
	eventually(t, "one process of the name beats", func() bool { return time.Since(one.started) > 3*one.cfg.Lease })
	if h := one.Health(); h.LastError != "" {
		t.Error(h.LastError)
	}
	node(t, url, "one")
	eventually(t, "the other is noticed", func() bool { h := one.Health(); return strings.Contains(h.LastError, "called one, too") })
}

// The events of a batch come again until they are taken, and then from where it was.
func TestConsumeAgain(t *testing.T) {
	l := begin(t, Config{Dir: t.TempDir(), Node: "one", Sync: time.Minute})
	for n := range uint64(10) {
		l.Append(event("a", n+1))
		flush(t, l)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var got [][]uint64
	err := l.Consume(ctx, "records", 4, func(batch []journal.Event) error {
		var ns []uint64
		for _, e := range batch {
			ns = append(ns, e.N)
		}
		got = append(got, ns)
		switch len(got) {
		case 1, 2:
			return errors.New("the database is away")
		case 4:
			cancel()
			return errors.New("again")
		}
		return nil
	})
	want := [][]uint64{{1, 2, 3, 4}, {1, 2, 3, 4}, {1, 2, 3, 4}, {5, 6, 7, 8}}
	if !errors.Is(err, context.Canceled) || !slices.EqualFunc(got, want, slices.Equal) {
		t.Fatalf("%v, %v", got, err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	var rest []journal.Event
	err = l.Consume(ctx, "records", 100, func(batch []journal.Event) error {
		if rest = append(rest, batch...); len(rest) == 6 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || len(rest) != 6 || rest[0].N != 5 {
		t.Fatalf("%+v, %v", rest, err)
	}
	if err := l.Consume(t.Context(), "no.name", 1, nil); err == nil || !strings.Contains(err.Error(), "no.name") {
		t.Error(err)
	}
}

// Of several nodes one is served; when it is gone another goes on.
func TestConsumeTakeover(t *testing.T) {
	url := shared(t)
	nodes := []*Log{node(t, url, "one"), node(t, url, "two")}
	type seen struct {
		node string
		n    uint64
	}
	got := make(chan seen, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, l := range nodes {
		wg.Go(func() {
			_ = l.Consume(ctx, "records", 5, func(batch []journal.Event) error {
				for _, e := range batch {
					got <- seen{l.cfg.Node, e.N}
				}
				return nil
			})
		})
	}
	writer := node(t, url, "writer")
	done := uint64(0)
	expect := func(from, to uint64) (by string) {
		for n := from; n <= to; n++ {
			writer.Append(event("a", n))
		}
		flush(t, writer)
		for done < to {
			s := <-got
			if s.n > done+1 {
				t.Fatalf("event %d came after %d", s.n, done)
			}
			if by == "" {
				by = s.node
			}
			if s.node != by {
				t.Fatalf("event %d came to %s, those before to %s", s.n, s.node, by)
			}
			done = max(done, s.n)
		}
		return by
	}
	first := expect(1, 50)
	for _, l := range nodes {
		if l.cfg.Node == first {
			vanish(t, l)
		}
	}
	// Nothing is lost of what the first had, whether it had said so or not.
	if second := expect(51, 100); second == first {
		t.Errorf("%s was gone", first)
	}
	cancel()
	wg.Wait()
}

func TestBus(t *testing.T) {
	url := shared(t)
	one, two := node(t, url, "one"), node(t, url, "two")
	got := make(chan string, 10)
	stop, err := one.Subscribe("pane.*", func(subject string, b []byte) { got <- subject + " " + string(b) })
	if err != nil {
		t.Fatal(err)
	}
	quiet, err := one.Serve("snapshot.one", func(b []byte) []byte { return append([]byte("the snapshot of "), b...) })
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other node is heard", func() bool {
		if err := two.Publish("pane.7", []byte("hello")); err != nil {
			t.Fatal(err)
		}
		select {
		case s := <-got:
			return s == "pane.7 hello"
		case <-time.After(10 * time.Millisecond):
			return false
		}
	})
	b, err := two.Request(t.Context(), "snapshot.one", []byte("7"))
	if err != nil || string(b) != "the snapshot of 7" {
		t.Errorf("%q, %v", b, err)
	}
	quiet()
	stop()
	stop()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := two.Request(ctx, "snapshot.nobody", nil); err == nil || !strings.Contains(err.Error(), "snapshot.nobody") {
		t.Error(err)
	}
}

// A subscriber that does not read loses messages, which are counted; others and the
// journal do not wait for it.
func TestSlowSubscriber(t *testing.T) {
	l := begin(t, Config{Dir: t.TempDir(), Node: "one", Sync: time.Minute})
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	first := make(chan struct{}, 1)
	stop, err := l.Subscribe("slow", func(string, []byte) {
		select {
		case first <- struct{}{}:
		default:
		}
		<-gate
	})
	if err != nil {
		t.Fatal(err)
	}
	var quick atomic.Int64
	stopQuick, err := l.Subscribe("slow", func(string, []byte) { quick.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	defer stopQuick()
	const sent = 3 * busPending
	for i := range sent {
		if err := l.Publish("slow", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 0 {
			eventually(t, "the quick one has it", func() bool { return quick.Load() == int64(i+1) })
		}
	}
	<-first
	eventually(t, "the loss is counted", func() bool {
		return l.Health().Slow["slow"] >= sent-busPending-1
	})
	l.Append(event("a", 1))
	flush(t, l)
	open()
	stop()
	if h := l.Health(); h.Slow["slow"] < sent-busPending-1 {
		t.Errorf("forgotten: %v", h.Slow)
	}
}
