package access

import (
	"context"
	"sync"
	"testing"
	"time"

	"sidetone/internal/access/password"
	"sidetone/internal/leaktest"
	"sidetone/internal/store/storetest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// cheap are costs that make tests fast.
func cheap() password.Params { return password.Params{MemoryKiB: 64, Time: 1, Threads: 1} }

// trail is an audit log in memory.
type trail struct {
	mu      sync.Mutex
	entries []string
	err     error
}

func (l *trail) Record(_ context.Context, actor, action, about string, _ map[string]string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, actor+" "+action+" "+about)
	return l.err
}

func (l *trail) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries
	l.entries = nil
	return e
}

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// fixture is a directory on a database of its own.
type fixture struct {
	*Directory
	db    DB
	trail *trail
	clock *clock
}

func directory(t *testing.T, url string) *fixture {
	t.Helper()
	f := &fixture{db: storetest.Open(t, url), trail: &trail{}, clock: &clock{at: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}}
	var err error
	f.Directory, err = NewDirectory(DirectoryConfig{DB: f.db, Audit: f.trail, Params: cheap(), Now: f.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const good = "correct horse battery"

func (f *fixture) add(t *testing.T, name string, of ...Role) {
	t.Helper()
	if err := f.Add(t.Context(), "system:test", Account{Name: name, Roles: of}, good); err != nil {
		t.Fatal(err)
	}
}

// enter logs in and returns the cookie's value.
func (f *fixture) enter(t *testing.T, name string) string {
	t.Helper()
	generation, err := f.login(t.Context(), name, good)
	if err != nil {
		t.Fatal(err)
	}
	id, err := f.open(t.Context(), name, generation)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
