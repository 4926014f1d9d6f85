//! The parts of a trip, and its payment.

use std::collections::HashMap;

use barrier::{Done, Stop};
use rpc::error::Reason;
use rpc::step::StepCall;
use sqlx::PgPool;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::v1::trip_steps_server::TripSteps;
use crate::v1::{
    BookRequest, BookResponse, Booking, FindPaymentRequest, IssueRequest, IssueResponse, PayRequest,
    PayResponse, UnbookRequest, UnbookResponse,
};
use crate::{DOMAIN, no};

pub(crate) struct Trips {
    pub(crate) pool: PgPool,
}

#[tonic::async_trait]
impl TripSteps for Trips {
    async fn book(&self, request: Request<BookRequest>) -> Result<Response<BookResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(&self.pool, &call, request, DOMAIN, async |conn, _| {
            if request.booking() == Booking::Unspecified {
                return Err(no("BOOKING_UNKNOWN", "there is nothing of this kind to book"));
            }
            let booking_no = format!("{}-{}", request.booking().as_str_name(), call.saga_id);
            sqlx::query(
                "insert into booking (trip_id, booking, booking_no, state) values ($1, $2, $3, 'booked')",
            )
            .bind(&request.trip_id)
            .bind(request.booking)
            .bind(&booking_no)
            .execute(conn)
            .await?;
            Ok::<_, Stop>(Done::Reply(BookResponse { booking_no }))
        })
        .await
    }

    async fn unbook(&self, request: Request<UnbookRequest>) -> Result<Response<UnbookResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(&self.pool, &call, request, DOMAIN, async |conn, _| {
            sqlx::query("update booking set state = 'cancelled' where trip_id = $1 and booking = $2")
                .bind(&request.trip_id)
                .bind(request.booking)
                .execute(conn)
                .await?;
            Ok::<_, Stop>(Done::Reply(UnbookResponse {}))
        })
        .await
    }

    async fn pay(&self, request: Request<PayRequest>) -> Result<Response<PayResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(&self.pool, &call, request, DOMAIN, async |conn, _| {
            if request.price_minor <= 0 {
                return Err(no(
                    "PRICE_NOT_POSITIVE",
                    format!("{} is no price", request.price_minor),
                ));
            }
            let payment_no = format!("PAY-{}", call.saga_id);
            sqlx::query("insert into payment (trip_id, payment_no, price_minor) values ($1, $2, $3)")
                .bind(&request.trip_id)
                .bind(&payment_no)
                .bind(request.price_minor)
                .execute(conn)
                .await?;
            Ok::<_, Stop>(Done::Reply(PayResponse { payment_no }))
        })
        .await
    }

    async fn find_payment(
        &self,
        request: Request<FindPaymentRequest>,
    ) -> Result<Response<PayResponse>, Status> {
        let trip_id = &request.get_ref().trip_id;
        let found: Option<String> = sqlx::query_scalar("select payment_no from payment where trip_id = $1")
            .bind(trip_id)
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| Reason::Unavailable.status(DOMAIN, error.to_string()))?;
        match found {
            Some(payment_no) => Ok(Response::new(PayResponse { payment_no })),
            // In our own domain: a proxy's NOT_FOUND would prove nothing.
            None => Err(Status::with_error_details(
                Code::NotFound,
                format!("no payment for {trip_id} was seen"),
                ErrorDetails::with_error_info("PAYMENT_NOT_FOUND", DOMAIN, HashMap::new()),
            )),
        }
    }

    async fn issue(&self, request: Request<IssueRequest>) -> Result<Response<IssueResponse>, Status> {
        let call = StepCall::read(request.metadata(), DOMAIN)?;
        let request = request.get_ref();
        barrier::run(&self.pool, &call, request, DOMAIN, async |conn, _| {
            let issued = sqlx::query(
                "update booking set state = 'issued' \
                 where trip_id = $1 and booking = $2 and state = 'booked' \
                 and exists (select from payment p where p.trip_id = $1 and p.payment_no = $3)",
            )
            .bind(&request.trip_id)
            .bind(request.booking)
            .bind(&request.payment_no)
            .execute(conn)
            .await?;
            if issued.rows_affected() == 0 {
                return Err(no("NOT_BOOKED", "there is no paid booking to issue"));
            }
            Ok::<_, Stop>(Done::Reply(IssueResponse {}))
        })
        .await
    }
}
