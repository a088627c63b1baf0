package sandbox

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// answerPlan generates the answers of the seeded submissions of one form. It
// keeps the questions as they were then, so later edits leave old answers be.
type answerPlan struct {
	questions []*question
}

// answered says cheaply whether the i-th question was: always when required,
// three times in four else, never past the point where a partial one stopped.
func (p *answerPlan) answered(i int, sub *submission) bool {
	q := p.questions[i]
	if q.kind == "CAPTCHA" {
		return false
	}
	if !sub.completed && i > int(mixed(sub.seed, 'p')%uint64(max(len(p.questions)-1, 1))) {
		return false
	}
	return q.required || q.kind == "HIDDEN_FIELDS" || q.kind == "CALCULATED_FIELDS" || mixed(sub.seed, 'a', uint64(i))%4 != 0
}

func (p *answerPlan) generate(formID string, sub *submission) []answer {
	maker := newMaker(sub.seed, formID, sub.at)
	var answers []answer
	for i, q := range p.questions {
		if p.answered(i, sub) {
			answers = append(answers, answer{q, maker.make(i, q)})
		}
	}
	return answers
}

// maker invents the answers of one respondent.
type maker struct {
	seed                    uint64
	formID                  string
	at                      time.Time
	firstName, family, mail string
}

func newMaker(seed uint64, formID string, at time.Time) *maker {
	m := &maker{seed: seed, formID: formID, at: at}
	m.firstName = pick(mixed(seed, 'f'), firstNames)
	m.family = pick(mixed(seed, 'l'), families)
	m.mail = strings.ToLower(m.firstName+"."+m.family) + "@example.com"
	return m
}

func pick(x uint64, list []string) string { return list[x%uint64(len(list))] }

func (m *maker) make(i int, q *question) any {
	x := mixed(m.seed, uint64(i), 'v')
	switch q.kind {
	case "INPUT_TEXT", "TEXTAREA":
		return m.words(x, q)
	case "INPUT_EMAIL":
		return m.mail
	case "INPUT_LINK":
		return "https://" + strings.ToLower(m.family) + ".example.com"
	case "INPUT_PHONE_NUMBER":
		return fmt.Sprintf("+447700900%03d", x%1000)
	case "INPUT_NUMBER", "LINEAR_SCALE", "RATING":
		return m.number(x, q)
	case "INPUT_DATE":
		return m.at.AddDate(0, 0, 3+int(x%60)).Format(time.DateOnly)
	case "INPUT_TIME":
		return fmt.Sprintf("%02d:%02d", 8+x%10, x/16%4*15)
	case "MATRIX":
		return m.matrix(x, q)
	case "FILE_UPLOAD", "SIGNATURE":
		return m.files(x, q)
	case "PAYMENT":
		return m.payment(x, q)
	case "HIDDEN_FIELDS", "CALCULATED_FIELDS":
		return m.named(x, q)
	case "RESPONDENT_COUNTRY":
		return pick(x, countries)
	case "WALLET_CONNECT":
		return "0x" + shortHex(x, 40)
	}
	return m.choices(x, q)
}

func (m *maker) words(x uint64, q *question) string {
	title := strings.ToLower(q.words())
	switch {
	case len(q.samples) > 0:
		return pick(x, q.samples)
	case strings.Contains(title, "first name"):
		return m.firstName
	case strings.Contains(title, "last name"):
		return m.family
	case strings.Contains(title, "name"):
		return m.firstName + " " + m.family
	case q.kind == "TEXTAREA":
		return pick(x, remarks)
	}
	return pick(x, phrases)
}

// number stays inside the limits of the block.
func (m *maker) number(x uint64, q *question) any {
	low, high, step := 1, 20, 1
	switch q.kind {
	case "RATING":
		high = q.limit("stars", 5)
	case "LINEAR_SCALE":
		low, high, step = q.limit("start", 0), q.limit("end", 10), q.limit("step", 1)
	default:
		low, high = q.limit("minNumber", low), q.limit("maxNumber", high)
	}
	if high <= low || step < 1 {
		return low
	}
	return low + int(x%uint64((high-low)/step+1))*step
}

func (q *question) limit(name string, otherwise int) int {
	if n, ok := toNumber(q.payload[name]); ok {
		return int(n)
	}
	return otherwise
}

// choices: one for single choice, up to three else, all in order for a ranking.
func (m *maker) choices(x uint64, q *question) any {
	order := rand.New(rand.NewPCG(x, m.seed)).Perm(len(q.options))
	count := 1
	several, _ := q.payload["allowMultiple"].(bool)
	switch {
	case q.kind == "RANKING":
		count = len(order)
	case several || q.kind == "CHECKBOXES" || q.kind == "MULTI_SELECT":
		count = 1 + int(x>>8%3)
	}
	ids := []string{}
	for _, i := range order[:min(count, len(order))] {
		if q.options[i].other {
			ids = append(ids, pick(x, phrases))
			continue
		}
		ids = append(ids, q.options[i].ID)
	}
	return ids
}

func (m *maker) matrix(x uint64, q *question) any {
	rows := make(map[string][]string, len(q.rows))
	for i, row := range q.rows {
		if len(q.columns) > 0 {
			rows[row.ID] = []string{q.columns[mixed(x, uint64(i))%uint64(len(q.columns))].ID}
		}
	}
	return rows
}

func (m *maker) files(x uint64, q *question) any {
	id, size := shortID(mixed(x, 'i'), 6), 4000+int(x%900000)
	if q.kind == "SIGNATURE" {
		return []fileAnswer{newFile(id, uuidOf(x)+".png", "image/png", 2000+size%9000, m.formID)}
	}
	name := strings.ToLower(m.family) + pick(x, []string{"-cv.pdf", "-letter.pdf", "-portfolio.pdf"})
	return []fileAnswer{newFile(id, name, "application/pdf", size, m.formID)}
}

func (m *maker) payment(x uint64, q *question) any {
	currency, _ := q.payload["currency"].(string)
	return payment{
		Price: q.payload["amount"], Currency: currency, Name: m.firstName + " " + m.family, Email: m.mail,
		Link: "https://dashboard.stripe.com/payments/pi_" + shortID(x, 10) + shortID(mix(x), 10),
	}
}

func (m *maker) named(x uint64, q *question) any {
	values := map[string]any{}
	for i, f := range q.named {
		y := mixed(x, uint64(i))
		switch {
		case q.kind == "HIDDEN_FIELDS" && len(q.samples) > 0:
			values[f.uuid] = pick(y, q.samples)
		case q.kind == "HIDDEN_FIELDS":
			values[f.uuid] = pick(y, campaigns)
		case f.kind == "TEXT":
			values[f.uuid] = pick(y, phrases)
		default:
			values[f.uuid] = int(y % 41)
		}
	}
	return values
}

func shortHex(x uint64, length int) string {
	var b strings.Builder
	for b.Len() < length {
		x = mix(x)
		fmt.Fprintf(&b, "%016x", x)
	}
	return b.String()[:length]
}

var (
	firstNames = []string{"Aila", "Bram", "Cleo", "Dario", "Edda", "Femi", "Greta", "Hugo", "Ines", "Jonas", "Kaya", "Levi", "Maren", "Nils", "Oda", "Pia", "Quim", "Runa", "Sami", "Tove"}
	families   = []string{"Ashdell", "Brackwater", "Corvane", "Dunmarsh", "Ellerby", "Fairholt", "Gostrey", "Hazelmoor", "Inglebeck", "Jarrowby", "Kestwick", "Larkhollow", "Mossgate", "Netherpool"}
	countries  = []string{"Belgium", "Netherlands", "United Kingdom", "Portugal", "Norway"}
	campaigns  = []string{"newsletter", "spring-blend", "window-sticker", "friend"}
	phrases    = []string{"House espresso", "The quay café", "After the weekend", "Something floral", "Second table by the window"}
	remarks    = []string{
		"The filter coffee was lovely, but the queue was long.",
		"Please call before noon, we open at one.",
		"Could you grind it coarser next time?\nThank you!",
		"No complaints. See you on Saturday.",
		"The grinder squeaks & the lid no longer closes “click”.",
	}
)
