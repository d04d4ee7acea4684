// Package oidc logs people in by an OpenID Connect provider: authorization code
// with PKCE, state and nonce (OpenID Connect Core 1.0, RFC 7636, RFC 9207).
package oidc

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// patience bounds each request to the provider.
const patience = 10 * time.Second

// ErrNotLoggedIn is wrapped by errors that are the person's or the provider's
// answer, not a fault of the connection.
var ErrNotLoggedIn = errors.New("not logged in")

// Config says who the provider is, and what its claims mean.
type Config struct {
	// Issuer is the provider's address, under which
	// /.well-known/openid-configuration stands.
	Issuer string
	// ClientID and ClientSecret are what it knows this server by.
	ClientID, ClientSecret string
	// Redirect is this server's address to which the provider sends people back.
	Redirect string
	// Scopes are asked for besides openid; none: profile and email.
	Scopes []string
	// NameClaim holds the account's name, "preferred_username"; DisplayClaim the
	// person's name, "name"; AgentClaim the agent's name where it is not the
	// account's; RolesClaim the groups, "groups".
	NameClaim, DisplayClaim, AgentClaim, RolesClaim string
	// Roles are the roles of each group.
	Roles map[string][]string
	// Client makes the requests; nil: one of its own.
	Client *http.Client
}

// Identity is who the provider says somebody is.
type Identity struct {
	// Subject is unique and for ever: the issuer and its name of the person.
	Subject       string
	Name, Display string
	// Agents and Roles are as configured by claims; Roles without doubles.
	Agents, Roles []string
}

// Request is one attempt to log in. It is kept by the person's browser and by
// nobody else.
type Request struct {
	State, Nonce, Verifier string
}

// Provider is safe for concurrent use.
type Provider struct {
	cfg Config

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
	oauth    *oauth2.Config
}

// New checks the configuration. The provider is asked when the first person
// logs in, so that the server starts without it.
func New(cfg Config) (*Provider, error) {
	for key, text := range map[string]string{"issuer": cfg.Issuer, "redirect": cfg.Redirect} {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return nil, fmt.Errorf("oidc: %s: %q is no address such as https://login.example", key, text)
		}
		if host := u.Hostname(); u.Scheme == "http" && host != "127.0.0.1" && host != "::1" && host != "localhost" {
			return nil, fmt.Errorf("oidc: %s: %q must be https", key, text)
		}
	}
	if cfg.ClientID == "" {
		return nil, errors.New("oidc: client_id is missing")
	}
	if len(cfg.Roles) == 0 {
		return nil, errors.New("oidc: roles is empty, so that nobody could do anything; give the roles of the provider's groups")
	}
	cfg.NameClaim = cmp.Or(cfg.NameClaim, "preferred_username")
	cfg.DisplayClaim = cmp.Or(cfg.DisplayClaim, "name")
	cfg.RolesClaim = cmp.Or(cfg.RolesClaim, "groups")
	if cfg.Scopes == nil {
		cfg.Scopes = []string{"profile", "email"}
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{Timeout: patience}
	}
	return &Provider{cfg: cfg}, nil
}

// discover asks the provider for its addresses and keys, once.
func (p *Provider) discover(ctx context.Context) (*oidc.IDTokenVerifier, *oauth2.Config, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.verifier != nil {
		return p.verifier, p.oauth, nil
	}
	// Keys are fetched later with this context too, so it may not end with ctx.
	provider, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), p.cfg.Client), p.cfg.Issuer)
	if err != nil {
		return nil, nil, fmt.Errorf("oidc: asking %s: %w", p.cfg.Issuer, err)
	}
	p.verifier = provider.Verifier(&oidc.Config{ClientID: p.cfg.ClientID})
	p.oauth = &oauth2.Config{
		ClientID: p.cfg.ClientID, ClientSecret: p.cfg.ClientSecret, Endpoint: provider.Endpoint(),
		RedirectURL: p.cfg.Redirect, Scopes: append([]string{oidc.ScopeOpenID}, p.cfg.Scopes...),
	}
	return p.verifier, p.oauth, nil
}

// Begin makes an attempt to log in and the address to which the person goes.
func (p *Provider) Begin(ctx context.Context) (q Request, to string, err error) {
	_, oauth, err := p.discover(ctx)
	if err != nil {
		return Request{}, "", err
	}
	q = Request{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier()}
	return q, oauth.AuthCodeURL(q.State, oidc.Nonce(q.Nonce), oauth2.S256ChallengeOption(q.Verifier)), nil
}

// Finish takes what the provider sent the person back with.
func (p *Provider) Finish(ctx context.Context, q Request, answer url.Values) (Identity, error) {
	verifier, oauth, err := p.discover(ctx)
	if err != nil {
		return Identity{}, err
	}
	no := func(format string, args ...any) (Identity, error) {
		return Identity{}, fmt.Errorf("oidc: %w: "+format, append([]any{ErrNotLoggedIn}, args...)...)
	}
	switch {
	case q.State == "" || q.Nonce == "" || q.Verifier == "" || subtle.ConstantTimeCompare([]byte(q.State), []byte(answer.Get("state"))) != 1:
		return no("the answer is not to this browser's request (state)")
	case answer.Has("iss") && answer.Get("iss") != p.cfg.Issuer:
		return no("the answer is of another provider, %q", answer.Get("iss"))
	case answer.Get("error") != "":
		return no("the provider says %q: %q", answer.Get("error"), answer.Get("error_description"))
	case answer.Get("code") == "":
		return no("the answer holds no code")
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.cfg.Client), patience)
	defer cancel()
	tokens, err := oauth.Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(q.Verifier))
	if err != nil {
		return Identity{}, fmt.Errorf("oidc: changing the code for a token: %w", err)
	}
	raw, ok := tokens.Extra("id_token").(string)
	if !ok {
		return no("the provider sent no id_token")
	}
	token, err := verifier.Verify(ctx, raw)
	if err != nil {
		return no("the id_token is not good: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(q.Nonce), []byte(token.Nonce)) != 1 {
		return no("the id_token is not of this browser's request (nonce)")
	}
	var claims map[string]any
	if err := token.Claims(&claims); err != nil {
		return no("the id_token's claims: %w", err)
	}
	return p.identity(token.Issuer, token.Subject, claims)
}

// identity reads the claims.
func (p *Provider) identity(issuer, subject string, claims map[string]any) (Identity, error) {
	id := Identity{Subject: issuer + " " + subject}
	if subject == "" {
		return Identity{}, fmt.Errorf("oidc: %w: the id_token names nobody (sub)", ErrNotLoggedIn)
	}
	names := texts(claims[p.cfg.NameClaim])
	if len(names) != 1 || names[0] == "" {
		return Identity{}, fmt.Errorf("oidc: %w: the claim %q must hold one name", ErrNotLoggedIn, p.cfg.NameClaim)
	}
	id.Name = names[0]
	if d := texts(claims[p.cfg.DisplayClaim]); len(d) == 1 {
		id.Display = d[0]
	}
	if p.cfg.AgentClaim != "" {
		id.Agents = texts(claims[p.cfg.AgentClaim])
	}
	for _, group := range texts(claims[p.cfg.RolesClaim]) {
		id.Roles = append(id.Roles, p.cfg.Roles[group]...)
	}
	slices.Sort(id.Roles)
	id.Roles = slices.Compact(id.Roles)
	if len(id.Roles) == 0 {
		return Identity{}, fmt.Errorf("oidc: %w: none of the groups of %q in the claim %q has a role here", ErrNotLoggedIn, id.Name, p.cfg.RolesClaim)
	}
	return id, nil
}

// texts reads a claim that holds one text or several.
func texts(claim any) []string {
	switch v := claim.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
		return out
	default:
		return nil
	}
}
