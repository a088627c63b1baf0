package bench

import (
	"encoding/json"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// The structs of a hand-written client.
type pageJSON struct {
	HasMore     bool             `json:"hasMore"`
	Questions   []questionJSON   `json:"questions"`
	Submissions []submissionJSON `json:"submissions"`
	Totals      countsJSON       `json:"totalNumberOfSubmissionsPerFilter"`
}

type countsJSON struct {
	All       int64 `json:"all"`
	Completed int64 `json:"completed"`
	Partial   int64 `json:"partial"`
}

type questionJSON struct {
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	Title     *string   `json:"title"`
	FormID    string    `json:"formId"`
	Responses int64     `json:"numberOfResponses"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

type submissionJSON struct {
	ID           string         `json:"id"`
	FormID       string         `json:"formId"`
	RespondentID string         `json:"respondentId"`
	IsCompleted  bool           `json:"isCompleted"`
	SubmittedAt  time.Time      `json:"submittedAt"`
	Responses    []responseJSON `json:"responses"`
}

type responseJSON struct {
	ID         string          `json:"id"`
	QuestionID string          `json:"questionId"`
	Answer     json.RawMessage `json:"answer"`
}

type formJSON struct {
	ID                   string       `json:"id"`
	Name                 *string      `json:"name"`
	IsNameModifiedByUser bool         `json:"isNameModifiedByUser"`
	WorkspaceID          string       `json:"workspaceId"`
	OrganizationID       string       `json:"organizationId"`
	Status               string       `json:"status"`
	HasDraftBlocks       bool         `json:"hasDraftBlocks"`
	Submissions          int64        `json:"numberOfSubmissions"`
	IsClosed             bool         `json:"isClosed"`
	CreatedAt            time.Time    `json:"createdAt"`
	UpdatedAt            time.Time    `json:"updatedAt"`
	Settings             settingsJSON `json:"settings"`
	Blocks               []blockJSON  `json:"blocks"`
}

type settingsJSON struct {
	Language                        *string `json:"language"`
	IsClosed                        *bool   `json:"isClosed"`
	CloseMessageTitle               *string `json:"closeMessageTitle"`
	CloseDate                       *string `json:"closeDate"`
	SubmissionsLimit                *int32  `json:"submissionsLimit"`
	HasSelfEmailNotifications       *bool   `json:"hasSelfEmailNotifications"`
	HasRespondentEmailNotifications *bool   `json:"hasRespondentEmailNotifications"`
	HasProgressBar                  *bool   `json:"hasProgressBar"`
	HasPartialSubmissions           *bool   `json:"hasPartialSubmissions"`
	PageAutoJump                    *bool   `json:"pageAutoJump"`
	SaveForLater                    *bool   `json:"saveForLater"`
	Password                        *string `json:"password"`
}

// blockJSON holds its payload as what it is, an object of any keys, as tallyd's answer does.
type blockJSON struct {
	UUID      string         `json:"uuid"`
	Type      string         `json:"type"`
	GroupUUID string         `json:"groupUuid"`
	GroupType string         `json:"groupType"`
	Payload   map[string]any `json:"payload"`
}

// pageByHand decodes with encoding/json into structs and translates them, as an adapter without a contract-driven codec would.
func pageByHand(data []byte) (*tallydv1.ListSubmissionsResponse, error) {
	var page pageJSON
	if err := json.Unmarshal(data, &page); err != nil {
		return nil, err
	}
	return page.proto(), nil
}

func (p *pageJSON) proto() *tallydv1.ListSubmissionsResponse {
	out := &tallydv1.ListSubmissionsResponse{
		Totals: &tallydv1.SubmissionCounts{All: p.Totals.All, Completed: p.Totals.Completed, Partial: p.Totals.Partial},
	}
	for _, q := range p.Questions {
		out.Questions = append(out.Questions, &tallydv1.Question{
			Id: q.ID, Type: q.Type, Title: q.Title, FormId: q.FormID, ResponseCount: q.Responses,
			CreateTime: timestamppb.New(q.CreatedAt), UpdateTime: timestamppb.New(q.UpdatedAt),
		})
	}
	for _, s := range p.Submissions {
		submission := &tallydv1.Submission{
			Id: s.ID, FormId: s.FormID, RespondentId: s.RespondentID, IsCompleted: s.IsCompleted, SubmitTime: timestamppb.New(s.SubmittedAt),
		}
		for _, r := range s.Responses {
			submission.Responses = append(submission.Responses, &tallydv1.QuestionResponse{
				Id: r.ID, QuestionId: r.QuestionID, AnswerJson: string(r.Answer),
			})
		}
		out.Submissions = append(out.Submissions, submission)
	}
	return out
}

func formByHand(data []byte) (*tallydv1.GetFormResponse, error) {
	var form formJSON
	if err := json.Unmarshal(data, &form); err != nil {
		return nil, err
	}
	return form.proto()
}

func (f *formJSON) proto() (*tallydv1.GetFormResponse, error) {
	out := &tallydv1.Form{
		Id: f.ID, Name: f.Name, IsNameModifiedByUser: f.IsNameModifiedByUser, WorkspaceId: f.WorkspaceID, OrganizationId: f.OrganizationID,
		Status:         tallydv1.FormStatus(tallydv1.FormStatus_value["FORM_STATUS_"+f.Status]),
		HasDraftBlocks: f.HasDraftBlocks, SubmissionCount: f.Submissions, IsClosed: f.IsClosed,
		CreateTime: timestamppb.New(f.CreatedAt), UpdateTime: timestamppb.New(f.UpdatedAt), Settings: f.Settings.proto(),
	}
	for _, b := range f.Blocks {
		payload, err := structpb.NewStruct(b.Payload)
		if err != nil {
			return nil, err
		}
		out.Blocks = append(out.Blocks, &tallydv1.Block{
			Uuid: b.UUID, Type: b.Type, GroupUuid: b.GroupUUID, GroupType: b.GroupType, Payload: payload,
		})
	}
	return &tallydv1.GetFormResponse{Form: out}, nil
}

func (s *settingsJSON) proto() *tallydv1.FormSettings {
	return &tallydv1.FormSettings{
		Language: s.Language, IsClosed: s.IsClosed, CloseMessageTitle: s.CloseMessageTitle, CloseDate: s.CloseDate,
		SubmissionsLimit: s.SubmissionsLimit, HasSelfEmailNotifications: s.HasSelfEmailNotifications,
		HasRespondentEmailNotifications: s.HasRespondentEmailNotifications, HasProgressBar: s.HasProgressBar,
		HasPartialSubmissions: s.HasPartialSubmissions, PageAutoJump: s.PageAutoJump, SaveForLater: s.SaveForLater, Password: s.Password,
	}
}
