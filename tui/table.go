package tui

// gap is the space between two columns of a table.
const gap = 2

// column is a column of a table.
type column struct {
	title string
	width int
	right bool // its text stands at the right
	close bool // it belongs to the column before it: one space between them
	// rank orders the leaving where the table is too wide: the highest first; 0
	// never leaves.
	rank int
	// grow is how many cells it may take more where the table has room.
	grow int
}

// cell is what stands in a column. A cell that is drawn to measure, such as a trend,
// has fill instead of a text.
type cell struct {
	span
	fill func(width int) span
}

func textCell(how tone, text string) cell { return cell{span: say(how, text)} }

// table is a set of columns, laid out for a width.
type table struct {
	columns []column
	widths  []int // 0: the column has left
}

// layOut decides which columns stay and how wide each is.
func layOut(cols []column, room int) table {
	t := table{cols, make([]int, len(cols))}
	for i, c := range cols {
		t.widths[i] = c.width
	}
	for t.total() > room && t.dropOne() {
	}
	for spare := room - t.total(); spare > 0 && t.growBy(&spare); {
	}
	return t
}

// total is the width of the whole table.
func (t table) total() (n int) {
	for i, w := range t.widths {
		if w > 0 {
			n += w + t.gapBefore(i, n == 0)
		}
	}
	return n
}

func (t table) gapBefore(i int, first bool) int {
	switch {
	case first:
		return 0
	case t.columns[i].close && t.widths[i-1] > 0:
		return 1
	}
	return gap
}

// dropOne leaves out the column of the highest rank, and reports whether there was
// one that may go.
func (t table) dropOne() bool {
	worst := -1
	for i, c := range t.columns {
		if t.widths[i] > 0 && c.rank > 0 && (worst < 0 || c.rank > t.columns[worst].rank) {
			worst = i
		}
	}
	if worst >= 0 {
		t.widths[worst] = 0
	}
	return worst >= 0
}

// growBy gives one cell to each column that may grow, so that those stay of one
// width, and reports whether it could.
func (t table) growBy(spare *int) bool {
	var growing []int
	for i, c := range t.columns {
		if t.widths[i] > 0 && t.widths[i] < c.width+c.grow {
			growing = append(growing, i)
		}
	}
	if len(growing) == 0 || *spare < len(growing) {
		return false
	}
	for _, i := range growing {
		t.widths[i]++
	}
	*spare -= len(growing)
	return true
}

// has reports whether a column is shown.
func (t table) has(i int) bool { return t.widths[i] > 0 }

// row lays cells out in the columns; cells that are missing are empty.
func (t table) row(looks *theme, cells ...cell) line {
	var l line
	for i, w := range t.widths {
		if w == 0 {
			continue
		}
		l = append(l, blank(t.gapBefore(i, len(l) == 0)))
		var c cell
		if i < len(cells) {
			c = cells[i]
		}
		l = append(l, t.place(looks, i, c)...)
	}
	return l
}

// place is one cell, cut and filled to its column's width.
func (t table) place(looks *theme, i int, c cell) line {
	w := t.widths[i]
	s := c.span
	if c.fill != nil {
		s = c.fill(w)
	}
	s.text = cut(s.text, w, looks.ellipsis)
	space := blank(w - s.columns())
	if t.columns[i].right {
		return line{space, s}
	}
	return line{s, space}
}

// head is the row of titles.
func (t table) head(looks *theme) line {
	cells := make([]cell, len(t.columns))
	for i, c := range t.columns {
		cells[i] = textCell(faint, c.title)
	}
	return t.row(looks, cells...)
}
