package access

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sidetone/internal/access/oidc"
	"sidetone/internal/access/password"
)

// Account is a person.
type Account struct {
	Name    string
	Display string
	Roles   []Role
	// Agents are the names of agents whose calls are theirs; none: Name.
	Agents   []string
	Disabled bool
	// Local accounts have a password; others come by an OpenID provider.
	Local            bool
	Created, Changed time.Time
}

// DirectoryConfig is what a Directory needs.
type DirectoryConfig struct {
	DB    DB
	Audit Auditor
	// Params are the costs of passwords; zero: password.Recommended.
	Params password.Params
	// Idle ends a session that was not used for so long, 2 h; Absolute any, 12 h.
	Idle, Absolute time.Duration
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Directory keeps accounts, sessions and tokens. It is safe for concurrent use,
// also by several processes.
type Directory struct {
	cfg    DirectoryConfig
	hasher *password.Hasher
}

// NewDirectory makes a Directory on tables that are there already.
func NewDirectory(cfg DirectoryConfig) (*Directory, error) {
	if cfg.DB == nil || cfg.Audit == nil {
		return nil, errors.New("access: a Directory needs DB and Audit")
	}
	if cfg.Idle == 0 {
		cfg.Idle = 2 * time.Hour
	}
	if cfg.Absolute == 0 {
		cfg.Absolute = 12 * time.Hour
	}
	if cfg.Idle < 0 || cfg.Absolute < cfg.Idle {
		return nil, fmt.Errorf("access: sessions of %v at most, %v without use: the first must be the longer", cfg.Absolute, cfg.Idle)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	h, err := password.New(password.Config{Params: cfg.Params})
	if err != nil {
		return nil, err
	}
	return &Directory{cfg: cfg, hasher: h}, nil
}

func (d *Directory) now() int64 { return d.cfg.Now().UnixMicro() }

func (d *Directory) audit(ctx context.Context, actor, action, about string, details map[string]string) error {
	if err := d.cfg.Audit.Record(ctx, actor, action, about, details); err != nil {
		return fmt.Errorf("access: keeping %q in the audit log: %w", action, err)
	}
	return nil
}

// check validates an account and fills in what was left out.
func (a *Account) check() error {
	if err := checkName("account", a.Name); err != nil {
		return err
	}
	if len(a.Agents) == 0 {
		a.Agents = []string{a.Name}
	}
	for _, n := range a.Agents {
		if err := checkName("agent", n); err != nil {
			return err
		}
	}
	if len(a.Display) > 200 {
		return fmt.Errorf("access: account %q: its display name is longer than 200 bytes", a.Name)
	}
	var err error
	a.Roles, err = ParseRoles(join(a.Roles), false)
	return err
}

// Add makes an account with a password. by is who does it, as in the audit log.
func (d *Directory) Add(ctx context.Context, by string, a Account, pass string) error {
	if err := a.check(); err != nil {
		return err
	}
	if err := password.Check(a.Name, pass); err != nil {
		return err
	}
	h, err := d.hasher.Make(ctx, pass)
	if err != nil {
		return err
	}
	return d.insert(ctx, by, a, h.String(), "")
}

func (d *Directory) insert(ctx context.Context, by string, a Account, hash, subject string) error {
	now := d.now()
	n, err := d.cfg.DB.Exec(ctx, `INSERT INTO access_accounts
		(name, display, roles, agents, password, subject, disabled, generation, created_us, changed_us)
		VALUES (?, ?, ?, ?, ?, ?, FALSE, 1, ?, ?) ON CONFLICT (name) DO NOTHING`,
		a.Name, a.Display, join(a.Roles), join(a.Agents), hash, subject, now, now)
	if err = changed(n, err, ErrTaken); err != nil {
		return fmt.Errorf("access: account %q: %w", a.Name, err)
	}
	return d.audit(ctx, by, "account.added", a.Name, map[string]string{"roles": join(a.Roles), "agents": join(a.Agents)})
}

// changed makes an error of a statement that found no row.
func changed(n int64, err, none error) error {
	if err == nil && n == 0 {
		return none
	}
	return err
}

// Accounts lists all, by name.
func (d *Directory) Accounts(ctx context.Context) ([]Account, error) {
	rows, err := d.cfg.DB.Query(ctx, `SELECT name, display, roles, agents, password, disabled, created_us, changed_us
		FROM access_accounts ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("access: listing accounts: %w", err)
	}
	defer rows.Close()
	var out []Account
	for rows.Next() {
		var a Account
		var held, agents, hash string
		var disabled bool
		var created, changed int64
		if err := rows.Scan(&a.Name, &a.Display, &held, &agents, &hash, &disabled, &created, &changed); err != nil {
			return nil, fmt.Errorf("access: listing accounts: %w", err)
		}
		a.Roles, a.Agents, a.Disabled, a.Local = splitRoles(held), split(agents), disabled, hash != ""
		a.Created, a.Changed = time.UnixMicro(created), time.UnixMicro(changed)
		out = append(out, a)
	}
	return out, rows.Err()
}

// SetPassword gives an account another password and ends its sessions.
func (d *Directory) SetPassword(ctx context.Context, by, name, pass string) error {
	if err := password.Check(name, pass); err != nil {
		return err
	}
	h, err := d.hasher.Make(ctx, pass)
	if err != nil {
		return err
	}
	return d.change(ctx, by, name, "password = ?", h.String(), map[string]string{"changed": "password"})
}

// SetRoles gives an account other roles and ends its sessions.
func (d *Directory) SetRoles(ctx context.Context, by, name string, to []Role) error {
	to, err := ParseRoles(join(to), false)
	if err != nil {
		return err
	}
	return d.change(ctx, by, name, "roles = ?", join(to), map[string]string{"changed": "roles", "roles": join(to)})
}

// SetAgents says whose calls are the account's, and ends its sessions.
func (d *Directory) SetAgents(ctx context.Context, by, name string, agents []string) error {
	a := Account{Name: name, Agents: agents, Roles: []Role{Agent}}
	if err := a.check(); err != nil {
		return err
	}
	return d.change(ctx, by, name, "agents = ?", join(a.Agents), map[string]string{"changed": "agents", "agents": join(a.Agents)})
}

// SetDisabled locks an account and ends its sessions, or unlocks it.
func (d *Directory) SetDisabled(ctx context.Context, by, name string, disabled bool) error {
	return d.change(ctx, by, name, "disabled = ?", disabled, map[string]string{"changed": "disabled", "disabled": fmt.Sprint(disabled)})
}

// change sets one column, which is the code's own text, and begins a new
// generation of sessions in the same statement.
func (d *Directory) change(ctx context.Context, by, name, set string, value any, details map[string]string) error {
	n, err := d.cfg.DB.Exec(ctx, `UPDATE access_accounts SET `+set+`, generation = generation + 1, changed_us = ? WHERE name = ?`,
		value, d.now(), name)
	if err = changed(n, err, ErrUnknown); err != nil {
		return fmt.Errorf("access: account %q: %w", name, err)
	}
	return d.audit(ctx, by, "account.changed", name, details)
}

// login checks a password. It takes as long for an account that there is not, or
// that is disabled. The generation is that of the password which was right.
func (d *Directory) login(ctx context.Context, name, pass string) (generation int64, err error) {
	var stored string
	var disabled bool
	err = d.cfg.DB.QueryRow(ctx, `SELECT password, disabled, generation FROM access_accounts WHERE name = ?`, name).
		Scan(&stored, &disabled, &generation)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("access: reading account %q: %w", name, err)
	}
	var hash *password.Hash
	if stored != "" {
		h, bad := password.Parse(stored)
		if bad != nil {
			return 0, fmt.Errorf("access: account %q: %w", name, bad)
		}
		hash = &h
	}
	ok, err := d.hasher.Matches(ctx, pass, hash)
	if err != nil {
		return 0, err
	}
	if !ok || disabled {
		return 0, fmt.Errorf("access: account %q: %w", name, ErrDenied)
	}
	if d.hasher.Outdated(*hash) {
		return generation, d.renew(ctx, name, pass, stored)
	}
	return generation, nil
}

// renew hashes a right password with today's costs, unless it was changed
// meanwhile.
func (d *Directory) renew(ctx context.Context, name, pass, old string) error {
	h, err := d.hasher.Make(ctx, pass)
	if err != nil {
		return err
	}
	if _, err = d.cfg.DB.Exec(ctx, `UPDATE access_accounts SET password = ? WHERE name = ? AND password = ?`, h.String(), name, old); err != nil {
		return fmt.Errorf("access: account %q: renewing the hash: %w", name, err)
	}
	return nil
}

// admit finds or makes the account of a person whom the provider vouches for.
// Roles are the provider's each time; a local account is not taken over.
func (d *Directory) admit(ctx context.Context, id oidc.Identity) (name string, generation int64, err error) {
	a := Account{Name: id.Name, Display: id.Display, Agents: id.Agents}
	for _, r := range id.Roles {
		a.Roles = append(a.Roles, Role(r))
	}
	if err = a.check(); err != nil {
		return "", 0, err
	}
	for range 2 {
		var subject, display, held, agents string
		var disabled bool
		err = d.cfg.DB.QueryRow(ctx, `SELECT subject, display, roles, agents, disabled, generation FROM access_accounts WHERE name = ?`, a.Name).
			Scan(&subject, &display, &held, &agents, &disabled, &generation)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			if err = d.insert(ctx, "system:oidc", a, "", id.Subject); err != nil && !errors.Is(err, ErrTaken) {
				return "", 0, err
			}
			continue
		case err != nil:
			return "", 0, fmt.Errorf("access: reading account %q: %w", a.Name, err)
		case subject != id.Subject:
			return "", 0, fmt.Errorf("access: account %q is another person's than %q: %w", a.Name, id.Subject, ErrDenied)
		case disabled:
			return "", 0, fmt.Errorf("access: account %q is disabled: %w", a.Name, ErrDenied)
		case held == join(a.Roles) && agents == join(a.Agents) && display == a.Display:
			return a.Name, generation, nil
		}
		var n int64
		n, err = d.cfg.DB.Exec(ctx, `UPDATE access_accounts SET display = ?, roles = ?, agents = ?, generation = generation + 1, changed_us = ?
			WHERE name = ? AND subject = ?`, a.Display, join(a.Roles), join(a.Agents), d.now(), a.Name, id.Subject)
		if err = changed(n, err, ErrUnknown); err != nil {
			return "", 0, fmt.Errorf("access: account %q: %w", a.Name, err)
		}
		if err = d.audit(ctx, "system:oidc", "account.changed", a.Name, map[string]string{"roles": join(a.Roles), "agents": join(a.Agents)}); err != nil {
			return "", 0, err
		}
	}
	err = d.cfg.DB.QueryRow(ctx, `SELECT generation FROM access_accounts WHERE name = ? AND subject = ? AND NOT disabled`, a.Name, id.Subject).Scan(&generation)
	if err != nil {
		return "", 0, fmt.Errorf("access: account %q: %w", a.Name, err)
	}
	return a.Name, generation, nil
}

func join[T ~string](names []T) string {
	var b strings.Builder
	for i, n := range names {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(string(n))
	}
	return b.String()
}

func split(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// splitRoles reads stored roles; names that an other version knew give nothing.
func splitRoles(text string) []Role {
	var out []Role
	for _, n := range split(text) {
		if r := Role(n); slices.Contains(roles(), r) {
			out = append(out, r)
		}
	}
	return out
}

// knows says whether there is an account of that name.
func (d *Directory) knows(ctx context.Context, name string) (bool, error) {
	var n int64
	err := d.cfg.DB.QueryRow(ctx, `SELECT COUNT(*) FROM access_accounts WHERE name = ?`, name).Scan(&n)
	return n > 0, err
}

// Empty says that there is no account yet.
func (d *Directory) Empty(ctx context.Context) (bool, error) {
	var n int64
	if err := d.cfg.DB.QueryRow(ctx, `SELECT COUNT(*) FROM access_accounts`).Scan(&n); err != nil {
		return false, fmt.Errorf("access: counting accounts: %w", err)
	}
	return n == 0, nil
}
