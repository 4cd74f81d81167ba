package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"swerve/testenv/lab"
	"swerve/testenv/wait"
)

// manyRules are as many as a file may have; fewRules are what they are compared with.
const (
	fewRules  = 10
	manyRules = 10_000
)

// newFlows is how many flows are begun for one value.
const newFlows = 200

// rulesGroup compares gateways that differ in the number of their rules alone.
var rulesGroup = fmt.Sprintf("10,000 rules beside %d", fewRules)

// ruleShapes are ways in which long lists of rules look, by what one of them matches.
var ruleShapes = []struct {
	name  string
	match func(i int) string
}{
	{"alike", func(i int) string {
		return fmt.Sprintf("from: %s, proto: udp, ports: [%d]", ruleNetwork(i), 1000+i%500)
	}},
	// No two neighbours restrict the same thing.
	{"mixed", func(i int) string {
		switch i % 4 {
		case 0:
			return fmt.Sprintf("from: %s", ruleNetwork(i))
		case 1:
			return fmt.Sprintf("to: %s", ruleNetwork(i))
		case 2:
			return fmt.Sprintf("proto: udp, ports: [%d]", 10_000+i)
		}
		return fmt.Sprintf("mark: %#x/0xffff", i)
	}},
}

func ruleNetwork(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
}

// rulesConfig is so many rules of a shape, of which only the last matches the client.
func rulesConfig(rules int, match func(i int) string) string {
	var b strings.Builder
	b.WriteString("policies: [{name: other, tiers: [wan1, wan0]}]\nrules:\n")
	for i := range rules - 1 {
		fmt.Fprintf(&b, "  - {%s, use: %s}\n", match(i), []string{"default", "other"}[i%2])
	}
	fmt.Fprintf(&b, "  - {from: %s, use: other}\n", roadLAN.Masked())
	return b.String()
}

// rules measures what many rules cost: packets of established flows, and the first packet
// of each new one.
func (m *measurer) rules(ctx context.Context) error {
	for _, uplinks := range []int{2, 63} {
		for _, shape := range ruleShapes {
			if err := m.rulesOf(ctx, uplinks, shape.name, shape.match); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *measurer) rulesOf(ctx context.Context, uplinks int, name string, match func(int) string) error {
	few, err := m.ruledRoad(ctx, uplinks, rulesConfig(fewRules, match))
	if err != nil {
		return err
	}
	defer few.close()
	many, err := m.ruledRoad(ctx, uplinks, rulesConfig(manyRules, match))
	if err != nil {
		return err
	}
	defer many.close()
	figure := func(what, unit string, floor Floor) *Figure {
		return &Figure{Group: rulesGroup, What: fmt.Sprintf("%s, rules %s, %d uplinks", what, name, uplinks), Unit: unit, Floor: floor}
	}
	bulk := figure("bulk TCP", "×", medianAtLeast(0.97))
	small := figure("64-byte packets", "×", medianAtLeast(0.97))
	old := figure("a packet of an established flow and its answer", "×", medianAtMost(1.1))
	fresh := figure("a new flow's first packet and its answer", "ms", worstAtMost(0.5))
	freshFew := figure("the same with 10 rules", "ms", Floor{})
	order := rand.New(rand.NewPCG(m.report.Seed, uint64(uplinks)))
	for i := range max(4, m.runs/10) {
		for _, kind := range []struct {
			measure func(context.Context, *road) (float64, error)
			add     func(many, few float64)
		}{
			{bulkRateOf, func(many, few float64) { bulk.add(many / few) }},
			{floodRateOf, func(many, few float64) { small.add(many / few) }},
			{oldFlowOf, func(many, few float64) { old.add(many / few) }},
			{newFlowOf, func(many, few float64) { fresh.add(many); freshFew.add(few) }},
		} {
			ofMany, ofFew, err := pair(ctx, kind.measure, many, few, order.IntN(2) == 1)
			if err != nil {
				return err
			}
			kind.add(ofMany, ofFew)
		}
		m.progress("%s, %s, %d uplinks: %d", rulesGroup, name, uplinks, i+1)
	}
	m.report.add(bulk, small, old, fresh, freshFew)
	return nil
}

// ruledRoad is a road under Swerve with rules.
func (m *measurer) ruledRoad(ctx context.Context, uplinks int, config string) (*road, error) {
	r, err := newRoad(uplinks)
	if err != nil {
		return nil, err
	}
	if err := r.bySwerve(ctx, m.binary, config); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// newFlowOf returns the median time, in milliseconds, in which the first packet of a new
// flow and its answer have passed the gateway.
func newFlowOf(ctx context.Context, r *road) (float64, error) { return roundTrips(ctx, r, false) }

// oldFlowOf returns the same of an established flow.
func oldFlowOf(ctx context.Context, r *road) (float64, error) { return roundTrips(ctx, r, true) }

func roundTrips(_ context.Context, r *road, established bool) (float64, error) {
	to := netip.AddrPortFrom(lab.Server4, floodPort)
	sink, err := r.server.ListenPacket("udp4", to.String())
	if err != nil {
		return 0, err
	}
	defer sink.Close()
	go echo(sink)
	var conn net.Conn
	took := make([]float64, newFlows)
	for i := range took {
		if conn == nil || !established {
			if conn, err = r.client.DialUDP(to); err != nil {
				return 0, err
			}
			defer conn.Close()
		}
		d, err := roundTrip(conn)
		if err != nil {
			return 0, fmt.Errorf("packet %d and its answer: %w", i, err)
		}
		took[i] = millis(d)
	}
	slices.Sort(took)
	return middle(took), nil
}

// echo sends packets back until the connection is closed.
func echo(conn net.PacketConn) {
	buf := make([]byte, 64)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = conn.WriteTo(buf[:n], from) // the other side reports what it does not get
	}
}

func roundTrip(conn net.Conn) (time.Duration, error) {
	if err := conn.SetDeadline(time.Now().Add(wait.Patience)); err != nil {
		return 0, err
	}
	buf := make([]byte, 18)
	begun := time.Now()
	if _, err := conn.Write(buf); err != nil {
		return 0, err
	}
	_, err := conn.Read(buf)
	return time.Since(begun), err
}
