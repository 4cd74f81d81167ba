package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// endpoint is what one path offers.
type endpoint struct {
	method string
	serve  http.HandlerFunc
}

// handler routes requests to their endpoints. A reload ends with life. Unknown paths
// and methods get an error as JSON too.
func (s *Server) handler(life context.Context) http.Handler {
	endpoints := map[string]endpoint{
		"/v1/status":  {http.MethodGet, s.serveStatus},
		"/v1/events":  {http.MethodGet, s.serveEvents},
		"/v1/explain": {http.MethodGet, s.serveExplain},
		"/v1/switch":  {http.MethodPost, s.serveSwitch},
		"/v1/drain":   {http.MethodPost, s.serveDrain},
		"/v1/resume":  {http.MethodPost, s.serveResume},
		"/v1/confirm": {http.MethodPost, s.serveConfirm},
		"/v1/reload":  {http.MethodPost, func(w http.ResponseWriter, r *http.Request) { s.serveReload(life, w, r) }},
	}
	return s.guarded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, ok := endpoints[r.URL.Path]
		switch {
		case !ok:
			refuseRequest(w, http.StatusNotFound, "there is no such endpoint", "see docs/API.md for those there are")
		case r.Method != e.method:
			w.Header().Set("Allow", e.method)
			refuseRequest(w, http.StatusMethodNotAllowed, r.URL.Path+" accepts only "+e.method, "")
		default:
			e.serve(w, r)
		}
	}))
}

// guarded admits requests within the server's bounds, and lets stop wait for
// handlers that outlive their connection.
func (s *Server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.enter() {
			refuseRequest(w, http.StatusServiceUnavailable, "the daemon is stopping", "")
			return
		}
		defer s.handlers.Done()
		if r.Context().Value(tooManyKey{}) != nil {
			w.Header().Set("Connection", "close")
			refuseRequest(w, http.StatusServiceUnavailable, "too many clients are connected", "close some, or try again in a moment")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, s.limits.body)
		next.ServeHTTP(w, r)
	})
}

// failure is the body of every answer that is not a 2xx. Action and Object say what
// failed inside the daemon, where that is more than the request as a whole.
type failure struct {
	Error    string   `json:"error"`
	Action   string   `json:"action,omitempty"`
	Object   string   `json:"object,omitempty"`
	Remedy   string   `json:"remedy,omitempty"`
	Problems []string `json:"problems,omitempty"`
}

func refuseRequest(w http.ResponseWriter, code int, cause, remedy string) {
	writeJSON(w, code, failure{Error: cause, Remedy: remedy})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		code, body = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(append(body, '\n'))
}

func (s *Server) serveStatus(w http.ResponseWriter, r *http.Request) {
	if _, err := parseQuery(r.URL.RawQuery); err != nil {
		refuseRequest(w, http.StatusBadRequest, err.Error(), "")
		return
	}
	body, err := s.snapshot.get(time.Now(), s.hub.seq())
	if err != nil {
		refuseRequest(w, http.StatusServiceUnavailable, err.Error(), "try again in a moment")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

func (s *Server) serveReload(life context.Context, w http.ResponseWriter, r *http.Request) {
	var confirm time.Duration
	body, err := asked[reloadRequest]("reload", r)
	if err == nil {
		confirm, err = seconds("confirm_s", body.ConfirmS, MinConfirm, MaxConfirm)
	}
	if err != nil {
		refuseRequest(w, http.StatusBadRequest, err.Error(), `send no body, {}, or {"confirm_s":120}`)
		return
	}
	if !s.reloading.TryLock() {
		refuseRequest(w, http.StatusConflict, "another reload is under way", "try again when it is done")
		return
	}
	defer s.reloading.Unlock()
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.limits.reload + s.limits.write))
	if err := s.reload(life, r.Context(), confirm); err != nil {
		writeFailure(w, err)
		return
	}
	var done Reloaded
	if status := s.backend.Status(); status != nil {
		done = Reloaded{Config: status.Daemon.Config, Generation: status.Daemon.Generation, ConfirmUntil: status.Daemon.ConfirmUntil}
	}
	writeJSON(w, http.StatusOK, done)
}

// reload runs until life ends or the limit is over, but does not end with the
// client's request, of which it only has the values.
func (s *Server) reload(life, request context.Context, confirm time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(request), s.limits.reload)
	defer cancel()
	stop := context.AfterFunc(life, cancel)
	defer stop()
	defer s.snapshot.forget()
	return s.backend.Reload(ctx, confirm)
}

// writeFailure distinguishes what cannot be carried out as it was asked, such as a bad
// configuration (422), from what failed for another reason (500).
func writeFailure(w http.ResponseWriter, err error) {
	code, f := http.StatusInternalServerError, failure{Error: oneLine(err.Error())}
	var e *Error
	if bad := new(badRequest); errors.As(err, &bad) {
		refuseRequest(w, http.StatusBadRequest, err.Error(), "")
		return
	}
	if errors.As(err, &e) && e.Cause != nil {
		f = failure{oneLine(e.Cause.Error()), e.Action, e.Object, e.Remedy, e.Problems}
	}
	if len(f.Problems) > 0 || errors.Is(err, ErrRefused) {
		code = http.StatusUnprocessableEntity
	}
	writeJSON(w, code, f)
}
