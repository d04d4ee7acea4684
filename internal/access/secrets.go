package access

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// touchEvery is how exactly the last use of a session or a token is kept.
const touchEvery = time.Minute

// open begins a session of an account, of the generation that was logged in, and
// returns what the cookie holds.
func (d *Directory) open(ctx context.Context, name string, generation int64) (id string, err error) {
	id = newSecret("")
	hash, _ := digest("", id)
	now := d.now()
	// Sessions that are over are of no use to anybody; a login is rare enough to
	// clear them away.
	if _, err = d.cfg.DB.Exec(ctx, `DELETE FROM access_sessions WHERE created_us < ? OR seen_us < ?`,
		now-d.cfg.Absolute.Microseconds(), now-d.cfg.Idle.Microseconds()); err != nil {
		return "", fmt.Errorf("access: clearing old sessions: %w", err)
	}
	if _, err = d.cfg.DB.Exec(ctx, `INSERT INTO access_sessions (hash, account, generation, created_us, seen_us) VALUES (?, ?, ?, ?, ?)`,
		hash, name, generation, now, now); err != nil {
		return "", fmt.Errorf("access: opening a session of %q: %w", name, err)
	}
	return id, nil
}

// session finds who a cookie is, or ErrDenied.
func (d *Directory) session(ctx context.Context, id string) (Principal, error) {
	hash, ok := digest("", id)
	if !ok {
		return Principal{}, fmt.Errorf("access: the cookie holds no session: %w", ErrDenied)
	}
	return d.sessionByHash(ctx, hash)
}

func (d *Directory) sessionByHash(ctx context.Context, hash string) (Principal, error) {
	p := Principal{Kind: Person, session: hash}
	var held, agents string
	var seen int64
	now := d.now()
	err := d.cfg.DB.QueryRow(ctx, `SELECT a.name, a.display, a.roles, a.agents, s.seen_us
		FROM access_sessions s JOIN access_accounts a ON a.name = s.account
		WHERE s.hash = ? AND s.generation = a.generation AND NOT a.disabled AND s.created_us >= ? AND s.seen_us >= ?`,
		hash, now-d.cfg.Absolute.Microseconds(), now-d.cfg.Idle.Microseconds()).Scan(&p.Name, &p.Display, &held, &agents, &seen)
	if errors.Is(err, sql.ErrNoRows) {
		return Principal{}, fmt.Errorf("access: the session is over: %w", ErrDenied)
	}
	if err != nil {
		return Principal{}, fmt.Errorf("access: reading a session: %w", err)
	}
	p.Roles, p.Agents = splitRoles(held), split(agents)
	if now-seen >= touchEvery.Microseconds() {
		if _, err = d.cfg.DB.Exec(ctx, `UPDATE access_sessions SET seen_us = ? WHERE hash = ? AND seen_us < ?`, now, hash, now); err != nil {
			return Principal{}, fmt.Errorf("access: keeping a session: %w", err)
		}
	}
	return p, nil
}

// closeSession ends a session; one that is over already is no error.
func (d *Directory) closeSession(ctx context.Context, hash string) error {
	if _, err := d.cfg.DB.Exec(ctx, `DELETE FROM access_sessions WHERE hash = ?`, hash); err != nil {
		return fmt.Errorf("access: ending a session: %w", err)
	}
	return nil
}

// Token is what a machine shows instead of a login.
type Token struct {
	Name  string
	Roles []Role
	// Expires and Used are zero for never; Revoked for not.
	Created, Expires, Used, Revoked time.Time
}

// AddToken makes a token of a name that was never used, and returns its text,
// which is shown once and not kept. A zero expiry means never.
func (d *Directory) AddToken(ctx context.Context, by, name string, of []Role, expires time.Time) (string, error) {
	if err := checkName("token", name); err != nil {
		return "", err
	}
	of, err := ParseRoles(join(of), true)
	if err != nil {
		return "", err
	}
	now, until := d.now(), int64(0)
	if !expires.IsZero() {
		if until = expires.UnixMicro(); until <= now {
			return "", fmt.Errorf("access: token %q would have expired at %v already", name, expires)
		}
	}
	text := newSecret(tokenPrefix)
	hash, _ := digest(tokenPrefix, text)
	n, err := d.cfg.DB.Exec(ctx, `INSERT INTO access_tokens (name, hash, roles, created_us, expires_us, used_us, revoked_us)
		VALUES (?, ?, ?, ?, ?, 0, 0) ON CONFLICT (name) DO NOTHING`, name, hash, join(of), now, until)
	if err = changed(n, err, ErrTaken); err != nil {
		return "", fmt.Errorf("access: token %q: %w", name, err)
	}
	return text, d.audit(ctx, by, "token.added", name, map[string]string{"roles": join(of)})
}

// Tokens lists all, by name.
func (d *Directory) Tokens(ctx context.Context) ([]Token, error) {
	rows, err := d.cfg.DB.Query(ctx, `SELECT name, roles, created_us, expires_us, used_us, revoked_us FROM access_tokens ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("access: listing tokens: %w", err)
	}
	defer rows.Close()
	var out []Token
	for rows.Next() {
		var t Token
		var held string
		var ms [4]int64
		if err := rows.Scan(&t.Name, &held, &ms[0], &ms[1], &ms[2], &ms[3]); err != nil {
			return nil, fmt.Errorf("access: listing tokens: %w", err)
		}
		t.Roles = splitRoles(held)
		for i, to := range []*time.Time{&t.Created, &t.Expires, &t.Used, &t.Revoked} {
			if ms[i] != 0 {
				*to = time.UnixMicro(ms[i])
			}
		}
		out = append(out, t)
	}
	return out, rows.Err()
}

// RevokeToken ends a token for good; its name stays taken, so that the audit log
// means one token by it.
func (d *Directory) RevokeToken(ctx context.Context, by, name string) error {
	n, err := d.cfg.DB.Exec(ctx, `UPDATE access_tokens SET revoked_us = ? WHERE name = ? AND revoked_us = 0`, d.now(), name)
	if err = changed(n, err, ErrUnknown); err != nil {
		return fmt.Errorf("access: token %q: %w", name, err)
	}
	return d.audit(ctx, by, "token.revoked", name, nil)
}

// token finds whose a token is, or ErrDenied.
func (d *Directory) token(ctx context.Context, text string) (Principal, error) {
	hash, ok := digest(tokenPrefix, text)
	if !ok {
		return Principal{}, fmt.Errorf("access: that is no token: %w", ErrDenied)
	}
	return d.tokenBy(ctx, "hash", hash)
}

// tokenBy finds a token by a column, which is the code's own text.
func (d *Directory) tokenBy(ctx context.Context, column, value string) (Principal, error) {
	p := Principal{Kind: Machine}
	var held string
	var used int64
	now := d.now()
	err := d.cfg.DB.QueryRow(ctx, `SELECT name, roles, used_us FROM access_tokens
		WHERE `+column+` = ? AND revoked_us = 0 AND (expires_us = 0 OR expires_us > ?)`, value, now).Scan(&p.Name, &held, &used)
	if errors.Is(err, sql.ErrNoRows) {
		return Principal{}, fmt.Errorf("access: the token is unknown, expired or revoked: %w", ErrDenied)
	}
	if err != nil {
		return Principal{}, fmt.Errorf("access: reading a token: %w", err)
	}
	p.Display, p.Roles = p.Name, splitRoles(held)
	if now-used >= touchEvery.Microseconds() {
		if _, err = d.cfg.DB.Exec(ctx, `UPDATE access_tokens SET used_us = ? WHERE name = ?`, now, p.Name); err != nil {
			return Principal{}, fmt.Errorf("access: keeping a token's use: %w", err)
		}
	}
	return p, nil
}

// still finds a Principal anew, or ErrDenied where they are no longer let in.
func (d *Directory) still(ctx context.Context, p Principal) (Principal, error) {
	if p.Kind == Machine {
		return d.tokenBy(ctx, "name", p.Name)
	}
	return d.sessionByHash(ctx, p.session)
}
