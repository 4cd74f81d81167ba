package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// eventsQuery is which events a client asks for.
type eventsQuery struct {
	// since is the time of the oldest event wanted; zero for all.
	since time.Time
	// follow keeps the stream open for what is still to come.
	follow bool
}

// parseEventsQuery reads the query of GET /v1/events. An unknown
// parameter is an error: a misspelt one would otherwise give a wrong answer.
func parseEventsQuery(raw string, now time.Time) (eventsQuery, error) {
	values, err := parseQuery(raw, "since", "follow")
	if err != nil {
		return eventsQuery{}, err
	}
	var q eventsQuery
	if s := values.Get("since"); s != "" {
		if q.since, err = ParseSince(s, now); err != nil {
			return eventsQuery{}, err
		}
	}
	if s := values.Get("follow"); s != "" {
		if q.follow, err = strconv.ParseBool(s); err != nil {
			return eventsQuery{}, fmt.Errorf("follow is %s, neither 1 nor 0", quote(s))
		}
	}
	return q, nil
}

// parseQuery decodes a query that has known parameters only, each once.
func parseQuery(raw string, known ...string) (url.Values, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, errors.New("the query is not well formed")
	}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(known, k) {
			return nil, fmt.Errorf("unknown parameter %s (known here: %s)", quote(k), knownList(known))
		}
		if len(values[k]) > 1 {
			return nil, fmt.Errorf("parameter %s is given twice", k)
		}
	}
	return values, nil
}

// quote prepares a client's value, which may be anything, for an error.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}

func knownList(known []string) string {
	if len(known) == 0 {
		return "none"
	}
	return strings.Join(known, ", ")
}

// ParseSince reads the beginning of a span: a time as RFC 3339 writes it, or a
// duration before now such as 90s, 1h30m or 2d.
func ParseSince(s string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if d, ok := parseSpan(s); ok {
		return now.Add(-d), nil
	}
	if hugeSpan.MatchString(s) {
		return time.Time{}, fmt.Errorf("since is %s, longer than a span can be; at most 65535d or 2562047h", quote(s))
	}
	return time.Time{}, fmt.Errorf("since is %s, neither a span such as 1h or 2d nor a time such as 2026-01-31T08:00:00Z", quote(s))
}

// hugeSpan matches what is written as a span, and is too long where it cannot be read.
var hugeSpan = regexp.MustCompile(`^([0-9]+d)?([0-9]*\.?[0-9]+(ns|us|µs|ms|s|m|h))+$|^[0-9]+d$`)

// parseSpan is time.ParseDuration with days, without signs.
func parseSpan(s string) (time.Duration, bool) {
	var days time.Duration
	if n, rest, ok := strings.Cut(s, "d"); ok {
		v, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			return 0, false
		}
		days, s = time.Duration(v)*24*time.Hour, rest
		if s == "" {
			return days, true
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
		return 0, false
	}
	return days + d, days+d >= d // a sum out of range wraps
}

// parseBody reads a request's body: nothing, or one JSON object of its fields.
func parseBody[T any](what string, body io.Reader) (r T, err error) {
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	switch err := dec.Decode(&r); {
	case errors.Is(err, io.EOF):
		return r, nil
	case err != nil:
		return r, fmt.Errorf("the body is not a %s request: %w", what, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return r, errors.New("the body continues after its object")
	}
	return r, nil
}
