package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func FuzzEventsQuery(f *testing.F) {
	for _, s := range []string{"", "since=1h&follow=1", "since=2d1h", "since=2026-01-31T08:00:00Z", "follow=maybe",
		"since=-1h", "since=99999d", "since=65535d2562047h", "%zz", "a;b", "since=1h&since=2h", "since=%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseEventsQuery(raw, noon)
		if err != nil {
			if q != (eventsQuery{}) || len(err.Error()) > 4*maxEventText {
				t.Errorf("%q: %+v with %v", raw, q, err)
			}
			return
		}
		absolute := strings.Contains(raw, "T") || strings.Contains(raw, "t")
		if !q.since.IsZero() && q.since.After(noon) && !absolute {
			t.Errorf("%q: a span leads to %v, after now", raw, q.since)
		}
	})
}

func FuzzReloadBody(f *testing.F) {
	for _, s := range []string{"", "{}", " {} ", "{}{}", "null", "[]", `{"confirm":"2m"}`, strings.Repeat("[", 5000), "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		_, err := parseBody[reloadRequest]("reload", bytes.NewReader(body))
		trimmed := string(bytes.TrimSpace(body))
		object := strings.HasPrefix(trimmed, "{") && strings.TrimSpace(strings.Trim(trimmed, "{}")) == ""
		if err == nil && trimmed != "" && trimmed != "null" && !object {
			t.Errorf("%q is taken for a reload", body)
		}
	})
}

// Whatever a client sends, it gets an answer, JSON unless it is a stream, and only
// the one request for a reload reloads.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /v1/events?since=1h HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /v1/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
		"POST /v1/../v1/reload HTTP/1.1\r\nHost: x\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
		"HEAD /v1/status HTTP/1.0\r\n\r\n",
		"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		reloaded := false
		backend := &fakeBackend{status: fullStatus(), reload: func(context.Context) error { reloaded = true; return nil }}
		hub := NewHub()
		hub.Publish(note("first"))
		server := newServer(nil, hub, backend, slog.New(slog.DiscardHandler), defaultLimits)
		ctx, cancel := context.WithTimeout(req.Context(), time.Millisecond) // ends streams
		defer cancel()
		w := httptest.NewRecorder()
		server.handler(ctx).ServeHTTP(w, req.WithContext(ctx))
		checkAnswer(t, w)
		if reloaded && (req.Method != "POST" || req.URL.Path != "/v1/reload") {
			t.Errorf("%s %s reloads", req.Method, req.URL.Path)
		}
	})
}

func checkAnswer(t *testing.T, w *httptest.ResponseRecorder) {
	body := w.Body.Bytes()
	switch kind := w.Header().Get("Content-Type"); kind {
	case "application/x-ndjson":
		return
	case "application/json":
		if !json.Valid(body) {
			t.Errorf("%d: %q", w.Code, body)
		}
		if w.Code != http.StatusOK && !strings.Contains(string(body), `"error"`) {
			t.Errorf("%d: %q says no reason", w.Code, body)
		}
	default:
		t.Errorf("%d as %q: %q", w.Code, kind, body)
	}
}

// What a daemon, of this or another version, may say does not trouble a client.
func FuzzAnswers(f *testing.F) {
	full, err := json.Marshal(fullStatus())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	for _, e := range someEvents() {
		line, _ := json.Marshal(e)
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := ParseStatus(b); err == nil {
			Overall(*s)
			if _, err := json.Marshal(s); err != nil {
				t.Errorf("a status read from %q: %v", b, err)
			}
		}
		var e Event
		if err := json.Unmarshal(b, &e); err == nil && e.Type() != "" {
			if _, err := json.Marshal(e); err != nil {
				t.Errorf("an event read from %q: %v", b, err)
			}
		}
	})
}

// Whatever the archive's file has, what is told afterwards is kept and read again, after
// what of it is events, and the file stays within its bounds.
func FuzzArchive(f *testing.F) {
	line, _ := json.Marshal(someEvents()[0])
	f.Add([]byte(nil), uint16(0))
	f.Add(append(line, '\n'), uint16(1))
	f.Add(line, uint16(3))
	f.Add([]byte("{\"seq\":9007199254740993}\n{}\n\x00\xff\n\n"), uint16(0))
	f.Add([]byte("x"), uint16(65_535))
	f.Fuzz(func(t *testing.T, content []byte, times uint16) {
		if len(content)*int(times) > 2*MaxArchiveBytes {
			return
		}
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, archiveFile), bytes.Repeat(content, int(times)), 0o600); err != nil {
			t.Fatal(err)
		}
		a := OpenArchive(folder)
		before, _ := a.Read()
		if err := a.open(); err != nil {
			t.Fatal(err)
		}
		defer a.close()
		added := encode(Event{Time: At(noon), Seq: 77, Detail: DaemonDetail{Action: "started"}})
		if err := a.write([]Line{added}); err != nil {
			t.Fatal(err)
		}
		after, _ := a.Read()
		if len(after) == 0 || !bytes.Equal(after[len(after)-1].JSON, added.JSON) {
			t.Fatalf("the event is not read again: %d lines were read before, %d after", len(before), len(after))
		}
		if len(after) < min(len(before)+1, MaxEvents)-1 {
			t.Errorf("%d lines were read before, %d after", len(before), len(after))
		}
	})
}
