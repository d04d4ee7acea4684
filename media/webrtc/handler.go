package webrtc

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sidetone/media"
	"sidetone/media/webrtc/whip"
)

const (
	typeSDP      = "application/sdp"
	typeFragment = "application/trickle-ice-sdpfrag"
	// maxName bounds names in a request, in bytes.
	maxName = 128
	// retryAfter is what a client that was turned away is told, in seconds.
	retryAfter = "5"
)

// refusal is an answer that refuses.
type refusal struct {
	status int
	Error  string `json:"error"`
	Hint   string `json:"hint,omitempty"`
}

func refuse(status int, hint, format string, args ...any) *refusal {
	return &refusal{status: status, Error: fmt.Sprintf(format, args...), Hint: hint}
}

func (r *refusal) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	switch r.status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="sidetone"`)
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", retryAfter)
	}
	w.WriteHeader(r.status)
	b, err := json.Marshal(r)
	if err != nil {
		return
	}
	// A client that has gone away is nobody's error.
	_, _ = w.Write(append(b, '\n'))
}

// ServeHTTP is the endpoint at Config.Path and, below it, its sessions.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, ok := strings.CutPrefix(r.URL.Path, s.cfg.Path)
	id, below := strings.CutPrefix(rest, "/")
	if !ok || rest != "" && (!below || strings.Contains(id, "/")) {
		refuse(http.StatusNotFound, "the endpoint is "+s.cfg.Path, "nothing is here").write(w)
		return
	}
	if no := s.cors(w, r); no != nil {
		no.write(w)
		return
	}
	methods := []string{http.MethodOptions, http.MethodPost}
	if below {
		methods = []string{http.MethodOptions, http.MethodPatch, http.MethodDelete}
	}
	if !slices.Contains(methods, r.Method) {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		refuse(http.StatusMethodNotAllowed, "POST an offer to "+s.cfg.Path+"; PATCH or DELETE the Location of the answer", "%s is not possible here", r.Method).write(w)
		return
	}
	if r.Method == http.MethodOptions {
		w.Header().Set("Accept-Post", typeSDP)
		w.Header().Set("Accept-Patch", typeFragment)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	no := s.authorise(r)
	switch {
	case no != nil:
	case r.Method == http.MethodPost:
		no = s.create(w, r)
	default:
		no = s.change(w, r, id)
	}
	if no != nil {
		s.cfg.Log.Info("WebRTC request refused", "method", r.Method, "status", no.status, "why", no.Error, "client", r.RemoteAddr)
		no.write(w)
	}
}

// cors answers browsers that ask for pages of other origins, and turns away
// those of origins that are not allowed.
func (s *Server) cors(w http.ResponseWriter, r *http.Request) *refusal {
	w.Header().Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	u, err := url.Parse(origin)
	own := err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
	if !own && !slices.Contains(s.cfg.Origins, origin) && !slices.Contains(s.cfg.Origins, "*") {
		return refuse(http.StatusForbidden, "add the page's origin to the allowed origins of WebRTC", "pages of %.200q may not use this endpoint", origin)
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Methods", "OPTIONS, POST, PATCH, DELETE")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match")
	h.Set("Access-Control-Expose-Headers", "Location, ETag, Link, Accept-Post, Accept-Patch, Retry-After")
	h.Set("Access-Control-Max-Age", "600")
	return nil
}

// authorise checks the bearer token.
func (s *Server) authorise(r *http.Request) *refusal {
	if len(s.cfg.Tokens) == 0 {
		return nil
	}
	hint := "send the header Authorization: Bearer and the configured token"
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return refuse(http.StatusUnauthorized, hint, "a bearer token is needed")
	}
	known := 0
	for _, t := range s.cfg.Tokens {
		known |= subtle.ConstantTimeCompare([]byte(t), []byte(strings.TrimSpace(token)))
	}
	if known == 0 {
		return refuse(http.StatusUnauthorized, hint, "the bearer token is not one of those configured")
	}
	return nil
}

// body reads a request's body of the given type.
func body(r *http.Request, kind string, limit int) ([]byte, *refusal) {
	got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || got != kind {
		return nil, refuse(http.StatusUnsupportedMediaType, "send the header Content-Type: "+kind, "the body's type is %.100q", r.Header.Get("Content-Type"))
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, int64(limit)+1))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "", "reading the body: %v", err)
	}
	if len(b) > limit {
		return nil, refuse(http.StatusRequestEntityTooLarge, "offer audio only", "the body is longer than %d bytes", limit)
	}
	return b, nil
}

// create is POST of an offer.
func (s *Server) create(w http.ResponseWriter, r *http.Request) *refusal {
	b, no := body(r, typeSDP, whip.MaxBody)
	if no != nil {
		return no
	}
	req, no := parse(r)
	if no != nil {
		return no
	}
	offer, err := whip.ParseOffer(b, whip.Options{Codecs: codecs(), Redundancy: s.cfg.Redundancy})
	if err != nil {
		return classify(err)
	}
	req.facts["webrtc."+req.leg.ID+".codec"] = offer.Audio.String()
	if err = s.reserve(); err != nil {
		return classify(err)
	}
	ses, answer, err := s.begin(r.Context(), offer, req)
	if err != nil {
		s.release()
		return classify(err)
	}
	go func() {
		defer s.release()
		ses.run()
	}()
	s.cfg.Log.Info("WebRTC session begun", "call", req.call.ID, "leg", req.leg.ID, "role", req.leg.Role.String(), "codec", offer.Audio.String(), "client", r.RemoteAddr)
	h := w.Header()
	h.Set("Content-Type", typeSDP)
	h.Set("Location", s.cfg.Path+"/"+ses.id)
	h.Set("ETag", ses.etag)
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, answer)
	return nil
}

// begin makes a session, all but its goroutine.
func (s *Server) begin(ctx context.Context, offer *whip.Offer, req request) (*session, string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Connect)
	defer cancel()
	ses, answer, err := s.newSession(ctx, offer, req)
	if err != nil {
		return nil, "", err
	}
	if err := s.enter(ses); err != nil {
		return nil, "", errors.Join(err, ses.pc.GracefulClose())
	}
	if err := ses.open(); err != nil {
		e := media.End{State: media.Refused, Reason: err.Error(), At: time.Now()}
		ses.sink.End(e, media.LegStats{})
		s.leave(ses, e)
		return nil, "", errors.Join(err, ses.pc.GracefulClose())
	}
	s.add(ses)
	return ses, answer, nil
}

// parse reads what the client says of itself.
func parse(r *http.Request) (request, *refusal) {
	q := r.URL.Query()
	req := request{
		call: media.Call{
			ID: q.Get("call"), Agent: q.Get("agent"), Source: "webrtc", Language: q.Get("language"), Started: time.Now(),
		},
		leg:   media.Leg{ID: q.Get("leg"), Label: q.Get("leg"), Identity: q.Get("identity"), Name: q.Get("name")},
		facts: map[string]string{},
	}
	for _, name := range []string{"call", "agent", "leg", "role", "language", "identity", "name"} {
		v := q.Get(name)
		if len(v) > maxName || !utf8.ValidString(v) || strings.ContainsFunc(v, unicode.IsControl) {
			return req, refuse(http.StatusBadRequest, fmt.Sprintf("use at most %d bytes of printable text", maxName), "?%s= is too long or has control characters", name)
		}
	}
	role, ok := media.ParseRole(q.Get("role"))
	if !ok {
		return req, refuse(http.StatusBadRequest, "use ?role=agent or ?role=customer, or leave it out", "?role=%q is no role", q.Get("role"))
	}
	req.leg.Role = role
	if role != media.RoleUnknown {
		req.leg.RoleReason = "the WHIP request says so"
	}
	if req.call.ID == "" {
		req.call.ID = "webrtc-" + strings.ToLower(rand.Text())
	}
	switch {
	case req.leg.ID != "":
	case role != media.RoleUnknown:
		req.leg.ID = role.String()
	default:
		req.leg.ID = "microphone"
	}
	if agent := r.UserAgent(); agent != "" {
		req.facts["webrtc."+req.leg.ID+".client"] = strings.ToValidUTF8(agent[:min(len(agent), 200)], "")
	}
	return req, nil
}

// change is PATCH and DELETE of a session.
func (s *Server) change(w http.ResponseWriter, r *http.Request, id string) *refusal {
	ses := s.session(id)
	if ses == nil {
		return refuse(http.StatusNotFound, "it may have ended; begin another with POST "+s.cfg.Path, "there is no such session")
	}
	if r.Method == http.MethodDelete {
		ses.finish(media.End{State: media.Ended, Reason: "the client ended the session", At: time.Now()})
		w.WriteHeader(http.StatusOK)
		return nil
	}
	b, no := body(r, typeFragment, whip.MaxFragment)
	if no != nil {
		return no
	}
	f, err := whip.ParseFragment(b)
	if err != nil {
		return classify(err)
	}
	ses.patching.Lock()
	defer ses.patching.Unlock()
	match := r.Header.Get("If-Match")
	switch {
	case match == "" && s.cfg.Strict:
		return refuse(http.StatusPreconditionRequired, "send the ETag of the last answer, or * to restart ICE", "the header If-Match is missing")
	case match != "" && match != "*" && match != ses.etag:
		return refuse(http.StatusPreconditionFailed, "ICE was restarted since; send the ETag of the last answer", "If-Match is not the session's ETag")
	}
	if f.Ufrag == "" || f.Ufrag == ses.offer.Ufrag {
		if err = ses.trickle(f); err != nil {
			return classify(err)
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Connect)
	defer cancel()
	ours, err := ses.restart(ctx, f)
	if err != nil {
		return classify(err)
	}
	h := w.Header()
	h.Set("Content-Type", typeFragment)
	h.Set("ETag", ses.etag)
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, ours)
	return nil
}

// classify finds the status and the way out for an error.
func classify(err error) *refusal {
	switch {
	case errors.Is(err, whip.ErrMalformed):
		return refuse(http.StatusBadRequest, "the body must be what RTCPeerConnection gives", "%v", err)
	case errors.Is(err, whip.ErrUnacceptable), errors.Is(err, errTooMany):
		return refuse(http.StatusUnprocessableEntity, "", "%v", err)
	case errors.Is(err, errLegRunning), errors.Is(err, media.ErrDuplicate):
		return refuse(http.StatusConflict, "end the other session first, or choose another ?call=, ?role= or ?leg=", "%v", err)
	case errors.Is(err, media.ErrBusy):
		return refuse(http.StatusServiceUnavailable, "try again later or at another node", "%v", err)
	case errors.Is(err, media.ErrDraining):
		return refuse(http.StatusServiceUnavailable, "this node is about to stop; use another", "%v", err)
	default:
		return refuse(http.StatusInternalServerError, "see the server's log", "%v", err)
	}
}
