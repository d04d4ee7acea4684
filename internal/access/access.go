// Package access says who may do what: accounts of people, tokens of machines,
// their roles, and the doors of the HTTP server that ask for them.
//
// A Directory keeps accounts, sessions and tokens in SQL. A Guard makes of each
// HTTP request a Principal, asks a table of rules whether the route is for them,
// and denies what has no rule. Passwords are hashed by package password; session
// ids and tokens are 256 random bits each and stored as their SHA-256, which
// needs no salt or cost for secrets that cannot be guessed.
//
// It is somewhat longer than packages here are, since the guard, the sessions and
// the accounts they belong to are safe only together.
package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Role is what somebody is to the system.
type Role string

// Agent sees their own calls; Supervisor sees and commands all; Security reads
// all, and the audit; Administrator may do everything but read the audit.
// Integrator, of tokens only, opens, commands and ends calls, and reads their
// state without what was said. Monitor, of tokens only, reads the metrics.
const (
	Agent         Role = "agent"
	Supervisor    Role = "supervisor"
	Security      Role = "security"
	Administrator Role = "administrator"
	Integrator    Role = "integrator"
	Monitor       Role = "monitor"
)

// roles are all, in the order in which they are shown.
func roles() []Role {
	return []Role{Agent, Supervisor, Security, Administrator, Integrator, Monitor}
}

// ParseRoles reads names separated by commas; the result is sorted and without
// doubles. machine allows the roles of tokens.
func ParseRoles(text string, machine bool) ([]Role, error) {
	var out []Role
	for name := range strings.SplitSeq(text, ",") {
		r := Role(strings.TrimSpace(name))
		if !slices.Contains(roles(), r) {
			return nil, fmt.Errorf("access: %q is no role; there are agent, supervisor, security, administrator, and for tokens integrator and monitor", r)
		}
		if (r == Integrator || r == Monitor) && !machine {
			return nil, fmt.Errorf("access: the role %s is for tokens, not for people", r)
		}
		if r == Agent && machine {
			return nil, errors.New("access: a token has no calls of its own; give it the role supervisor or integrator")
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Role) int { return cmp.Compare(slices.Index(roles(), a), slices.Index(roles(), b)) })
	return slices.Compact(out), nil
}

// Kind says how somebody showed who they are.
type Kind string

// People log in and have a session; machines have a token; Anybody is who comes
// where no login is required.
const (
	Person  Kind = "account"
	Machine Kind = "token"
	Anybody Kind = "anybody"
)

// Principal is who makes a request.
type Principal struct {
	Kind Kind
	// Name is unique within Kind; Display is for people to read.
	Name, Display string
	Roles         []Role
	// Agents are the names of agents whose calls are this person's own.
	Agents []string
	// session is the hash of the session's id.
	session string
}

// Has says whether one of the roles is theirs.
func (p Principal) Has(any ...Role) bool {
	return slices.ContainsFunc(any, func(r Role) bool { return slices.Contains(p.Roles, r) })
}

// Actor names them in the audit log.
func (p Principal) Actor() string { return string(p.Kind) + ":" + p.Name }

// Reads says whether they may read what was said on calls of the agent.
func (p Principal) Reads(agent string) bool {
	return p.Has(Supervisor, Security, Administrator) || p.Has(Agent) && agent != "" && slices.Contains(p.Agents, agent)
}

// Knows says whether they may know that there are calls of the agent.
func (p Principal) Knows(agent string) bool { return p.Reads(agent) || p.Has(Integrator) }

// KnowsAll says whether they may know that there are calls of anybody, and of
// nobody yet.
func (p Principal) KnowsAll() bool { return p.Knows("") }

// principalKey is the context's key of the Principal.
type principalKey struct{}

// From is the Principal who makes the request of the context; the zero value,
// who may do nothing, where there is none.
func From(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey{}).(Principal)
	return p
}

// With is a context of requests by p.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// Anyone is the Principal where no login is required; they may do everything.
func Anyone() Principal {
	return Principal{Kind: Anybody, Name: "anybody", Roles: roles()}
}

// DB is what Directory needs of *store.DB.
type DB interface {
	Exec(ctx context.Context, query string, args ...any) (changed int64, err error)
	Query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) *sql.Row
}

// Auditor keeps what was done. about is what it was done to; details are
// further names and values, without secrets.
type Auditor interface {
	Record(ctx context.Context, actor, action, about string, details map[string]string) error
}

// Errors that callers tell apart.
var (
	// ErrUnknown says that there is no such account or token.
	ErrUnknown = errors.New("there is none of that name")
	// ErrTaken says that there is one already.
	ErrTaken = errors.New("there is one of that name already")
	// ErrDenied says that name and password, or cookie or token, are not good.
	ErrDenied = errors.New("not known")
)

// tokenPrefix marks tokens, for people and for programs that look for leaked
// secrets.
const tokenPrefix = "st_"

// secretBytes are the random bytes of session ids and tokens.
const secretBytes = 32

// newSecret makes a session id, or with the prefix a token.
func newSecret(prefix string) string {
	b := make([]byte, secretBytes)
	rand.Read(b) //nolint:errcheck // it never fails: the program ends instead
	return prefix + base64.RawURLEncoding.EncodeToString(b)
}

// digest is what is stored of a secret. Texts that cannot be one have none.
func digest(prefix, secret string) (hash string, ok bool) {
	text, ok := strings.CutPrefix(secret, prefix)
	if !ok || len(text) != base64.RawURLEncoding.EncodedLen(secretBytes) {
		return "", false
	}
	if _, err := base64.RawURLEncoding.Strict().DecodeString(text); err != nil {
		return "", false
	}
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:]), true
}

// checkName keeps names harmless in paths, logs, lists and pages.
func checkName(what, s string) error {
	ok := s != "" && len(s) <= 128 && s != "." && s != ".."
	for _, r := range s {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-@:+", r))
	}
	if !ok {
		return fmt.Errorf("access: %s %q: use 1 to 128 letters, digits and any of . _ - @ : +", what, s)
	}
	return nil
}
