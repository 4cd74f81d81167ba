package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"reflect"
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

// parseBody reads a request's body: nothing, or one JSON object of its fields, each once.
func parseBody[T any](what string, body io.Reader) (r T, err error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return r, fmt.Errorf("the body cannot be read: %w", err)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return r, nil
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return r, fmt.Errorf("the body is not a %s request: %s", what, wrongBody(err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return r, errors.New("the body continues after its object")
	}
	if name := twiceIn(text); name != "" {
		return r, fmt.Errorf("the body has the field %s twice", quote(name))
	}
	return r, nil
}

// wrongBody says in words why a body is none.
func wrongBody(err error) string {
	var kind *json.UnmarshalTypeError
	if !errors.As(err, &kind) {
		if text, ok := strings.CutPrefix(err.Error(), "json: "); ok {
			return text // an unknown field
		}
		return "it is not well-formed JSON"
	}
	if kind.Field == "" {
		return "it is not an object"
	}
	if strings.HasPrefix(kind.Value, "number ") {
		return kind.Field + " is out of range"
	}
	wanted := "a text"
	if kind.Type.Kind() == reflect.Float64 {
		wanted = "a number"
	}
	return fmt.Sprintf("%s is not %s", kind.Field, wanted)
}

// twiceIn returns a name that a JSON object has twice, in whatever case; empty for none.
// The object holds no others.
func twiceIn(object []byte) string {
	dec := json.NewDecoder(bytes.NewReader(object))
	var seen []string
	for isName := false; ; isName = !isName {
		token, err := dec.Token()
		if err != nil {
			return ""
		}
		name, ok := token.(string)
		if !isName || !ok {
			continue
		}
		if name = strings.ToLower(name); slices.Contains(seen, name) {
			return name
		}
		seen = append(seen, name)
	}
}
