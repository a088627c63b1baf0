package bench

import (
	"fmt"
	"strings"
)

// submissionsPage is a page of Tally's with 100 submissions of twelve answers each.
func submissionsPage() []byte {
	var b strings.Builder
	b.WriteString(`{"page":1,"limit":100,"hasMore":false,"totalNumberOfSubmissionsPerFilter":{"all":100,"completed":100,"partial":0},"questions":[`)
	for q := range 12 {
		comma(&b, q)
		fmt.Fprintf(&b, `{"id":"q%d","type":%q,"title":"Question %d","isTitleModifiedByUser":false,"formId":"f1","isDeleted":false,"numberOfResponses":100,"createdAt":"2026-01-01T00:00:00.000Z","updatedAt":"2026-01-01T00:00:00.000Z","fields":[]}`, q, kinds[q%4], q)
	}
	b.WriteString(`],"submissions":[`)
	for s := range 100 {
		comma(&b, s)
		fmt.Fprintf(&b, `{"id":"s%d","formId":"f1","respondentId":"r%d","isCompleted":true,"submittedAt":"2026-02-01T10:00:%02d.000Z","responses":[`, s, s, s%60)
		for q := range 12 {
			comma(&b, q)
			fmt.Fprintf(&b, `{"id":"a%d-%d","questionId":"q%d","answer":%s}`, s, q, q, values[q%4])
		}
		b.WriteString(`]}`)
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

var (
	kinds  = []string{"INPUT_TEXT", "INPUT_NUMBER", "MULTIPLE_CHOICE", "INPUT_DATE"}
	values = []string{`"A sentence of some length that somebody typed."`, `42`, `["Very satisfied"]`, `"2026-02-01"`}
)

func comma(b *strings.Builder, i int) {
	if i > 0 {
		b.WriteByte(',')
	}
}

// singleForm is a form of about 3 KB: a title, two questions with text and one with four choices.
func singleForm() []byte {
	var b strings.Builder
	b.WriteString(`{"id":"f1","name":"Customer satisfaction","isNameModifiedByUser":true,"workspaceId":"w1","organizationId":"o1","status":"PUBLISHED","hasDraftBlocks":false,"numberOfSubmissions":1204,"isClosed":false,"payments":[],"createdAt":"2026-01-01T09:00:00.000Z","updatedAt":"2026-03-01T17:30:00.000Z",`)
	b.WriteString(`"settings":{"language":"en","isClosed":false,"closeMessageTitle":null,"closeDate":null,"submissionsLimit":5000,"hasSelfEmailNotifications":true,"hasRespondentEmailNotifications":false,"hasProgressBar":true,"hasPartialSubmissions":true,"pageAutoJump":false,"saveForLater":true,"password":null},"blocks":[`)
	for i, kind := range blocks {
		comma(&b, i)
		fmt.Fprintf(&b, `{"uuid":"0b6a3c1e-7d52-4f0e-9c41-%012d","type":%q,"groupUuid":"5f1d8a90-2c3b-4e67-8a15-%012d","groupType":%q,"payload":{"index":%d,"isRequired":true,"isHidden":false,"html":"What we would like to hear from you, number %d","columnRatio":0.5}}`, i, kind, i/2, kind, i, i)
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}

var blocks = []string{
	"FORM_TITLE", "TITLE", "INPUT_TEXT", "TITLE", "TEXTAREA",
	"TITLE", "MULTIPLE_CHOICE_OPTION", "MULTIPLE_CHOICE_OPTION",
}
