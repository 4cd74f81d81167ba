package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"

	"swerve/failover"
	"swerve/rule"
)

// Question is a packet whose way is asked for.
type Question struct {
	// Src is its source; invalid for a packet of this machine whose source the kernel
	// chooses. Dst is its destination, in the same family.
	Src, Dst netip.Addr
	// Proto is its IP protocol, 0 where it does not matter, and Port its destination
	// port, 0 where it has none.
	Proto uint8
	Port  uint16
	// In is the interface, or the uplink, by which it comes in; empty for the one by which
	// this machine reaches Src, or for none where Src is its own.
	In string
}

// Explanation is the way of the first packet of a flow, and why.
type Explanation struct {
	Src   *netip.Addr `json:"src"`
	Dst   netip.Addr  `json:"dst"`
	Proto uint8       `json:"proto"`
	Port  uint16      `json:"port"`
	// In is the interface by which it comes in; empty for one of this machine's own.
	In string `json:"in"`
	// Rule is the one that decided; nil where none did.
	Rule *ExplainedRule `json:"rule"`
	// Policy is the one that it goes by; nil where none is asked, such as for a network
	// that main has a route to. Tier is that of Uplink in it, from 1.
	Policy *string `json:"policy"`
	Tier   *int    `json:"tier"`
	// Uplink that it leaves by, nil for none; Interface is empty where it leaves by none.
	Uplink    *string     `json:"uplink"`
	Interface string      `json:"interface"`
	Gateway   *netip.Addr `json:"gateway"`
	// Source is the one that it leaves with, after our NAT; nil where it does not leave.
	Source *netip.Addr `json:"source"`
	// Table and Route are the routing table and the destination of the route that decided.
	Table int           `json:"table"`
	Route *netip.Prefix `json:"route"`
	// Why says it all in a sentence.
	Why string `json:"why"`
	// Others are the other uplinks, each with the reason why not.
	Others List[ExplainedUplink] `json:"others"`
	// Notes are what else matters, such as what was assumed.
	Notes List[string] `json:"notes"`
}

// ExplainedRule is a rule of the configuration.
type ExplainedRule struct {
	// Number counts the rules from 1, and Line is the one of the file on which it begins.
	Number int    `json:"number"`
	Line   int    `json:"line"`
	Policy string `json:"policy"`
}

// ExplainedUplink is an uplink that a packet does not leave by.
type ExplainedUplink struct {
	Uplink string `json:"uplink"`
	Reason string `json:"reason"`
}

// ParseQuestion reads a packet from words: src may be empty, proto is a name or a number,
// port needs a protocol that has ports.
func ParseQuestion(src, dst, proto, port, in string) (Question, error) {
	q := Question{In: in}
	var err error
	if q.Dst, err = parseAddress("dst", dst); err != nil {
		return q, err
	}
	if src != "" {
		if q.Src, err = parseAddress("src", src); err != nil {
			return q, err
		}
		if failover.FamilyOf(q.Src) != failover.FamilyOf(q.Dst) {
			return q, fmt.Errorf("src %s and dst %s are of different families", q.Src, q.Dst)
		}
	}
	if proto != "" {
		var ok bool
		if q.Proto, ok = rule.ParseProtocol(proto); !ok {
			return q, fmt.Errorf("proto %s is no IP protocol: a name such as tcp or udp, or a number from 1 to 255", quote(proto))
		}
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return q, fmt.Errorf("port %s is not 1 to 65535", quote(port))
		}
		if !rule.HasPorts(q.Proto) {
			return q, errors.New("a port needs a protocol that has ports, such as tcp or udp")
		}
		q.Port = uint16(n)
	}
	return q, nil
}

func parseAddress(name, s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, fmt.Errorf("%s is missing", name)
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%s is %s, no IPv4 or IPv6 address", name, quote(s))
	}
	return a.Unmap(), nil
}

func (s *Server) serveExplain(w http.ResponseWriter, r *http.Request) {
	values, err := parseQuery(r.URL.RawQuery, "src", "dst", "proto", "port", "in")
	var q Question
	if err == nil {
		q, err = ParseQuestion(values.Get("src"), values.Get("dst"), values.Get("proto"), values.Get("port"), values.Get("in"))
	}
	if err != nil {
		refuseRequest(w, http.StatusBadRequest, err.Error(), "ask for src=ADDRESS&dst=ADDRESS, with proto, port and in where they matter")
		return
	}
	answer, err := s.backend.Explain(r.Context(), q)
	if err != nil {
		writeFailure(w, err)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// ExplainJSON asks for the way of a packet, and returns the answer as the daemon wrote it.
// What makes no sense on its machine is an error with ErrRefused in its chain.
func (c *Client) ExplainJSON(ctx context.Context, q Question) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	values := url.Values{"dst": {q.Dst.String()}}
	if q.Src.IsValid() {
		values.Set("src", q.Src.String())
	}
	if q.Proto != 0 {
		values.Set("proto", strconv.Itoa(int(q.Proto)))
	}
	if q.Port != 0 {
		values.Set("port", strconv.Itoa(int(q.Port)))
	}
	if q.In != "" {
		values.Set("in", q.In)
	}
	return c.call(ctx, "ask for a packet's way through", http.MethodGet, "/v1/explain?"+values.Encode(), nil)
}

// Explain is ExplainJSON, decoded.
func (c *Client) Explain(ctx context.Context, q Question) (*Explanation, error) {
	body, err := c.ExplainJSON(ctx, q)
	if err != nil {
		return nil, err
	}
	e := new(Explanation)
	if err := json.Unmarshal(body, e); err != nil {
		return nil, c.fail("decode a packet's way from", err, "use a client and a daemon of the same version")
	}
	return e, nil
}
