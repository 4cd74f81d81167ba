package tui

import (
	"fmt"

	"swerve/control"
	human "swerve/control/say"
	"swerve/failover"
)

// These tables are for more uplinks than fit with all details. The reasons for their
// states are among the problems.

// compactTable has a line for each family of each uplink.
func (p *picture) compactTable(status *control.Status) (head line, body []line) {
	cols := append([]column{{width: 1}, {width: p.nameWidth(12), close: true}}, p.familyColumns()...)
	cols = append(cols, p.rateColumns()...)
	cols = append(cols, column{title: "GATEWAY", width: 25, rank: 9})
	t := p.table(p.width, cols...)
	for _, u := range status.Uplinks {
		name := []cell{{span: p.carrying(u.Name)}, textCell(strong, u.Name)}
		rates := []cell{textCell(plain, human.Rate(u.RxBPS)), textCell(plain, human.Rate(u.TxBPS))}
		for i, f := range failover.Families {
			cells := p.familyCells(u, f)
			for len(cells) < len(p.familyColumns()) {
				cells = append(cells, cell{})
			}
			cells = append(append(name, cells...), append(rates, textCell(plain, gateway(u.Family(f))))...)
			body = append(body, t.row(cells...))
			if i == 0 {
				name, rates = make([]cell, 2), make([]cell, 2)
			}
		}
	}
	return t.head(), body
}

func (p *picture) rateColumns() []column {
	return []column{
		{title: p.down + " RX", width: 9, right: true, rank: 7},
		{title: p.up + " TX", width: 9, right: true, rank: 7},
	}
}

// nameWidth returns the width of the longest name, at least 7 cells, at most so many.
func (p *picture) nameWidth(most int) (n int) {
	for _, u := range p.snap.Status.Uplinks {
		n = max(n, columns(human.Clean(u.Name)))
	}
	return max(min(n, most), 7)
}

// denseTable has a line for each uplink: the states of both families, and the worse
// of their figures.
func (p *picture) denseTable(status *control.Status) (head line, body []line) {
	cols := []column{
		{width: 1},
		{width: p.nameWidth(16), close: true},
		{title: "IPv4", width: 12},
		{title: "IPv6", width: 12},
		{title: "RTT", width: 8, right: true},
		{title: fmt.Sprintf("%.0fmin", p.trendSpan().Minutes()), width: 5, close: true, rank: 3, grow: 20},
		{title: "LOSS", width: 5, right: true},
		{width: 5, close: true, rank: 4, grow: 20},
	}
	t := p.table(p.width, append(cols, p.rateColumns()...)...)
	for _, u := range status.Uplinks {
		worst := p.worseFamily(u)
		cells := p.familyCells(u, worst)
		for len(cells) < len(p.familyColumns()) {
			cells = append(cells, textCell(plain, human.NotKnown))
		}
		body = append(body, t.row(
			cell{span: p.carrying(u.Name)}, textCell(strong, u.Name),
			cell{span: p.stateSpan(u.IPv4.State)}, cell{span: p.stateSpan(u.IPv6.State)},
			cells[3], cells[4], cells[5], cells[6],
			textCell(plain, human.Rate(u.RxBPS)), textCell(plain, human.Rate(u.TxBPS))))
	}
	return t.head(), body
}

// worseFamily returns the family whose figures matter more: that of the higher loss, or
// the one with a measurement.
func (p *picture) worseFamily(u control.Uplink) failover.Family {
	a, b := u.IPv4.Loss, u.IPv6.Loss
	if b != nil && (a == nil || *b > *a) {
		return failover.IPv6
	}
	return failover.IPv4
}
