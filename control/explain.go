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
	// DSCP is its code point, 0 to 63, and Mark the packet mark that other programs give it.
	DSCP uint8
	Mark uint32
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
	DSCP  uint8       `json:"dscp"`
	Mark  uint32      `json:"mark"`
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

// QuestionWords is a packet in words, each of which but Dst may be empty. Proto is a name
// or a number, Port needs a protocol that has ports, DSCP is a name or a number, Mark a
// number, decimal or 0x….
type QuestionWords struct{ Src, Dst, Proto, Port, DSCP, Mark, In string }

// Parse reads the words.
func (w QuestionWords) Parse() (Question, error) {
	q := Question{In: w.In}
	var err error
	if q.Dst, err = parseAddress("dst", w.Dst); err != nil {
		return q, err
	}
	if w.Src != "" {
		if q.Src, err = parseAddress("src", w.Src); err != nil {
			return q, err
		}
		if failover.FamilyOf(q.Src) != failover.FamilyOf(q.Dst) {
			return q, fmt.Errorf("src %s and dst %s are of different families", q.Src, q.Dst)
		}
	}
	var ok bool
	if w.Proto != "" {
		if q.Proto, ok = rule.ParseProtocol(w.Proto); !ok {
			return q, fmt.Errorf("proto %s is no IP protocol: a name such as tcp or udp, or a number from 1 to 255", quote(w.Proto))
		}
	}
	if w.DSCP != "" {
		if q.DSCP, ok = rule.ParseDSCP(w.DSCP); !ok {
			return q, fmt.Errorf("dscp %s is no code point: %s", quote(w.DSCP), rule.WantDSCP)
		}
	}
	if w.Mark != "" {
		n, err := strconv.ParseUint(w.Mark, 0, 32)
		if err != nil {
			return q, fmt.Errorf("mark %s is no packet mark: a number of 32 bits such as 0x10", quote(w.Mark))
		}
		q.Mark = uint32(n)
	}
	if w.Port != "" {
		n, err := strconv.ParseUint(w.Port, 10, 16)
		if err != nil || n == 0 {
			return q, fmt.Errorf("port %s is not 1 to 65535", quote(w.Port))
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
	values, err := parseQuery(r.URL.RawQuery, "src", "dst", "proto", "port", "dscp", "mark", "in")
	var q Question
	if err == nil {
		q, err = QuestionWords{
			Src: values.Get("src"), Dst: values.Get("dst"), Proto: values.Get("proto"), Port: values.Get("port"),
			DSCP: values.Get("dscp"), Mark: values.Get("mark"), In: values.Get("in"),
		}.Parse()
	}
	if err != nil {
		refuseRequest(w, http.StatusBadRequest, err.Error(), "ask for src=ADDRESS&dst=ADDRESS, with proto, port, dscp, mark and in where they matter")
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
	if q.DSCP != 0 {
		values.Set("dscp", strconv.Itoa(int(q.DSCP)))
	}
	if q.Mark != 0 {
		values.Set("mark", fmt.Sprintf("%#x", q.Mark))
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
