package service

import (
	"encoding/json"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

func typeDelivery(body []byte, _ func(kind string)) (*tallydv1.Submission, error) {
	var d struct {
		Data struct{ FormID, SubmissionID, RespondentID string }
	}
	err := json.Unmarshal(body, &d)
	return &tallydv1.Submission{Id: d.Data.SubmissionID, FormId: d.Data.FormID, RespondentId: d.Data.RespondentID, IsCompleted: true}, err
}
