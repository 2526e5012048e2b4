//! Buckets that do not take every object at once.

use std::{sync::Arc, time::Duration};

use audit_logs::{
    domain::destination::{self, BucketLayout, Destination},
    forward::{FailureKind, Sink},
};

use super::{NOW, SECRET, batch, id, open, secrets, stream_to};
use crate::receivers::FlakyBucket;

fn sink(bucket: &FlakyBucket, layout: BucketLayout) -> Arc<dyn Sink> {
    let destination = Destination::S3(destination::S3 {
        bucket: "logs".to_owned(),
        access_key_id: "AKIA".to_owned(),
        endpoint: bucket.url.clone(),
        layout,
        ..destination::S3::default()
    });
    open(&stream_to(destination, ""), &secrets(&[("secret_access_key", SECRET)]))
}

#[tokio::test]
async fn what_is_refused_once_is_put_again() {
    for (layout, objects) in [(BucketLayout::FilePerEvent, 40), (BucketLayout::NdjsonGzip, 2)] {
        let bucket = FlakyBucket::start().await;
        bucket.contents().refuses_first = true;
        let sink = sink(&bucket, layout);
        sink.send(&batch(&*sink, 0, 40, 10), NOW).await.unwrap();
        let contents = bucket.contents();
        assert_eq!((contents.objects.len(), contents.puts), (objects, 2 * objects));
    }
}

#[tokio::test]
async fn the_events_before_one_that_is_not_taken_are_told() {
    let bucket = FlakyBucket::start().await;
    let sink = sink(&bucket, BucketLayout::FilePerEvent);
    bucket.contents().never = Some(id(25));
    let events = batch(&*sink, 0, 40, 10);
    let failure = sink.send(&events, NOW).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Temporary { retry_after: None }, "{failure:?}");
    assert_eq!(failure.taken, 25);
    assert!(bucket.contents().objects.len() >= 25);
    bucket.contents().never = None;
    sink.send(&events[failure.taken..], NOW).await.unwrap();
    assert_eq!(bucket.contents().objects.len(), 40);
}

#[tokio::test]
async fn a_batch_is_small_enough_for_a_slow_bucket() {
    let bucket = FlakyBucket::start().await;
    let sink = sink(&bucket, BucketLayout::FilePerEvent);
    // Sixteen at once, ten seconds each: in time.
    let rounds = sink.limits().events.div_ceil(16);
    assert!(Duration::from_secs(10) * u32::try_from(rounds).unwrap() < Duration::from_secs(55));
}
