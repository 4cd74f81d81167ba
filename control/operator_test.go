package control

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// send sends a body as a foreign client would, and returns code and body.
func (r *rig) send(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", r.socket)
	}}}
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://swerve"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

// The requests of the contract, as any program may send them; what is out of bounds or
// misspelt is a 400 that says so, what does not exist a 422.
func TestOrdersOnTheWire(t *testing.T) {
	r := newRig(t, defaultLimits)
	r.backend.reload = func(context.Context) error { return nil }
	for _, c := range []struct {
		path, body string
		code       int
		want       string
	}{
		{"/v1/switch", `{"uplink":"fiber","policy":"guests","for_s":90}`, 200, `"text":"1m30s"`},
		{"/v1/switch", `{"uplink":"fiber","for_s":1.5}`, 200, `"text":"1.5s"`},
		{"/v1/switch", `{"uplink":"fiber"}`, 200, `"until":null`},
		{"/v1/switch", `{"uplink":"fibre"}`, 422, "the uplinks are fiber"},
		{"/v1/switch", `{}`, 400, "uplink is missing"},
		{"/v1/switch", ``, 400, "uplink is missing"},
		{"/v1/switch", `{"uplink":"fiber","for_s":0}`, 400, "for_s is 0, not 1 to"},
		{"/v1/switch", `{"uplink":"fiber","for_s":-1}`, 400, "for_s is -1, not 1 to 31536000 seconds"},
		{"/v1/switch", `{"uplink":"fiber","for_s":31536000.5}`, 400, "for_s is 31536000.5, not 1 to 31536000 seconds"},
		{"/v1/switch", `{"uplink":"fiber","for_s":1e300}`, 400, "for_s is 1e+300"},
		{"/v1/switch", `{"uplink":"fiber","for_s":1e999}`, 400, "for_s is out of range"},
		{"/v1/switch", `{"uplink":"fiber","policy":""}`, 400, "policy is empty; leave it out for all"},
		{"/v1/resume", `{"uplink":""}`, 400, "uplink is empty; leave it out for all"},
		{"/v1/resume", `{"uplink":"lte","uplink":"fiber"}`, 400, `the body has the field \"uplink\" twice`},
		{"/v1/drain", `{"uplink":"lte","Uplink":"fiber"}`, 400, `the body has the field \"uplink\" twice`},
		{"/v1/drain", `{"uplink":7}`, 400, "the body is not a drain request: uplink is not a text"},
		{"/v1/drain", `[]`, 400, "the body is not a drain request: it is not an object"},
		{"/v1/drain", `{"uplink"`, 400, "the body is not a drain request: it is not well-formed JSON"},
		{"/v1/switch", `{"uplink":"fiber","for_s":31536001}`, 400, "for_s"},
		{"/v1/switch", `{"uplink":"fiber","for_s":"1h"}`, 400, "the body is not a switch request: for_s is not a number"},
		{"/v1/switch", `{"uplink":"fiber","until":1}`, 400, "unknown field"},
		{"/v1/switch?uplink=fiber", `{}`, 400, "unknown parameter"},
		{"/v1/drain", `{"uplink":"fiber","for_s":3600}`, 200, `"text":"1h0m0s"`},
		{"/v1/drain", `{"uplink":"fiber","policy":"guests"}`, 400, "unknown field"},
		{"/v1/drain", `{"uplink":""}`, 400, "uplink is missing"},
		{"/v1/confirm", ``, 422, "none waits"},
		{"/v1/reload", `{"confirm_s":120}`, 200, `"confirm_until":`},
		{"/v1/confirm", `{}`, 200, `"generation":3`},
		{"/v1/reload", `{"confirm_s":0}`, 400, "confirm_s is 0"},
		{"/v1/reload", `{"confirm_s":604801}`, 400, "confirm_s"},
		{"/v1/confirm", `{"yes":true}`, 400, "unknown field"},
	} {
		if code, got := r.send(t, http.MethodPost, c.path, c.body); code != c.code || !strings.Contains(got, c.want) {
			t.Errorf("%s %s: %d %s, want %d with %s", c.path, c.body, code, got, c.code, c.want)
		}
	}
	for _, path := range []string{"/v1/switch", "/v1/drain", "/v1/confirm"} {
		if code, _ := r.send(t, http.MethodGet, path, ""); code != 405 {
			t.Errorf("GET %s: %d", path, code)
		}
	}
	if r.backend.confirm != 2*time.Minute {
		t.Errorf("to be confirmed within %v", r.backend.confirm)
	}
}

// What the client sends arrives as it was meant.
func TestOrdersByTheClient(t *testing.T) {
	r := newRig(t, defaultLimits)
	r.backend.reload = func(context.Context) error { return nil }
	if done, err := r.client.Switch(t.Context(), Order{Uplink: "fiber", Policy: "guests", For: 90 * time.Second}); err != nil || done.Text != "1m30s" || done.Policies[0] != "guests" {
		t.Errorf("switch: %+v, %v", done, err)
	}
	if done, err := r.client.Drain(t.Context(), Order{Uplink: "fiber"}); err != nil || done.Text != "0s" {
		t.Errorf("drain: %+v, %v", done, err)
	}
	if _, err := r.client.Drain(t.Context(), Order{Uplink: "fibre"}); !errors.Is(err, ErrRefused) {
		t.Errorf("no such uplink: %v", err)
	}
	if _, err := r.client.Reload(t.Context(), time.Hour); err != nil || r.backend.confirm != time.Hour {
		t.Errorf("reload: %v, %v", r.backend.confirm, err)
	}
	if done, err := r.client.Confirm(t.Context()); err != nil || done.Generation != 3 {
		t.Errorf("confirm: %+v, %v", done, err)
	}
}

// A question is passed on whole; what is no packet is a 400.
func TestExplainOnTheWire(t *testing.T) {
	r := newRig(t, defaultLimits)
	for path, want := range map[string]string{
		"/v1/explain?src=192.0.2.1&dst=198.51.100.1&proto=tcp&port=443&in=lan0": `"dst":"198.51.100.1","proto":6,"port":443,"dscp":0,"mark":0,"in":"lan0"`,
		"/v1/explain?dst=198.51.100.1&dscp=af11&mark=0x10":                      `"dst":"198.51.100.1","proto":0,"port":0,"dscp":10,"mark":16,"in":""`,
		"/v1/explain?dst=198.51.100.1&dscp=0x2e&mark=4294967295":                `"dscp":46,"mark":4294967295,"in":""`,
		"/v1/explain?dst=2001:db8::1&proto=58":                                  `"dst":"2001:db8::1","proto":58,"port":0,"dscp":0,"mark":0,"in":""`,
	} {
		if code, got := r.send(t, http.MethodGet, path, ""); code != 200 || !strings.Contains(got, want) {
			t.Errorf("%s: %d %s", path, code, got)
		}
	}
	for path, want := range map[string]string{
		"/v1/explain": "dst is missing", "/v1/explain?dst=x": "no IPv4 or IPv6 address", "/v1/explain?dst=fe80::1%25eth0": "no IPv4 or IPv6",
		"/v1/explain?dst=192.0.2.1&src=::1": "different families", "/v1/explain?dst=192.0.2.1&proto=0": "no IP protocol",
		"/v1/explain?dst=192.0.2.1&port=80": "needs a protocol", "/v1/explain?dst=192.0.2.1&proto=udp&port=0": "not 1 to 65535",
		"/v1/explain?dst=192.0.2.1&dscp=64": "no code point: ef,", "/v1/explain?dst=192.0.2.1&mark=0x100000000": "no packet mark",
		"/v1/explain?dst=192.0.2.1&dport=1": "unknown parameter", "/v1/explain?dst=192.0.2.1&dst=192.0.2.2": "given twice",
	} {
		if code, got := r.send(t, http.MethodGet, path, ""); code != 400 || !strings.Contains(got, want) {
			t.Errorf("%s: %d %s", path, code, got)
		}
	}
	q, err := QuestionWords{Src: "192.0.2.1", Dst: "198.51.100.1", Proto: "udp", Port: "53", DSCP: "EF", Mark: "0x10", In: "lan0"}.Parse()
	if err != nil {
		t.Fatal(err)
	}
	if e, err := r.client.Explain(t.Context(), q); err != nil || e.Port != 53 || e.Proto != 17 || e.DSCP != 46 || e.Mark != 0x10 || e.In != "lan0" || e.Why != "192.0.2.1" {
		t.Errorf("%+v, %v", e, err)
	}
	q.In = "nowhere"
	if _, err := r.client.Explain(t.Context(), q); !errors.Is(err, ErrRefused) || err.Error() != "explain a packet: there is no interface nowhere; name one" {
		t.Errorf("%v", err)
	}
}
